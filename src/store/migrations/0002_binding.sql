-- How many of a tenant's places are taken, in one place: by every account that is alive, and by one that is going and will
-- not go after all, for it is to stay, or somebody waits to take it over. Without what `its_object` itself waits for.
create function living_accounts(its_tenant text, its_object uuid)
returns bigint language sql stable as $$
  select count(*) from user_provision_state s
  where s.sme_tenant_id = its_tenant and s.confirmed_at is not null and s.voided_at is null
    and s.state <> 'deleted'
    and (s.state <> 'deleting' or s.deletion_policy = 'Retain' or exists (
      select from waiting w
      where w.tenant = its_tenant and w.email = s.email and w.why = 'EmailInUse' and w.object_uid is distinct from its_object
        and not exists (select from user_provision_state o where o.object_uid = w.object_uid and o.confirmed_at is not null)))
$$;

-- Binds an object where there is nothing to choose: nobody is known by its address, the uuid is free and so is a place. Gives
-- its row; or that of an object that has one already, which another replica was quicker with; or nothing: whatever is not
-- plain is chosen step by step (src/store/bindings.ts), under the same lock, and what both can answer they answer alike. The
-- row is as src/saga/transitions.ts says; a test holds the two together.
--
-- A function, for one statement would read what stood there before it had the lock: each statement in here sees what was
-- committed when it began (read committed, and volatile). As it may be planned while the table is small and run when it is
-- big, only indices are used.
create function bind_new_user(its_uuid uuid, pinned boolean, its_tenant text, its_email text, its_cluster text,
  its_object uuid, its_namespace text, its_name text, its_creation timestamptz, max_users bigint)
returns setof user_provision_state language plpgsql volatile set enable_seqscan = off as $$
begin
  perform pg_advisory_xact_lock(hashtextextended(its_tenant, 77));

  if exists (select from user_provision_state where object_uid = its_object and confirmed_at is not null) then
    return query select * from user_provision_state
      where object_uid = its_object and confirmed_at is not null and state <> 'orphaned'
        and (not pinned or sme_user_uuid = its_uuid);
    if found then
      delete from waiting where object_uid = its_object;
    end if;
    return;
  end if;

  if exists (select from user_provision_state
             where sme_tenant_id = its_tenant and email = its_email and confirmed_at is not null) then
    return;
  end if;

  if max_users <= living_accounts(its_tenant, its_object) + (
    select count(*) from waiting
    where tenant = its_tenant and why = 'QuotaFull' and object_uid <> its_object
      and (created_at, object_uid) < (its_creation, its_object)
  ) then
    return;
  end if;

  -- What admission wrote for it, or for one that was never seen; nothing was ever begun under that.
  return query update user_provision_state set
      email = its_email, sme_tenant_id = its_tenant, cluster_id = its_cluster, object_uid = its_object,
      object_namespace = its_namespace, object_name = its_name, object_created_at = its_creation, confirmed_at = now(),
      voided_at = null, due_at = now(), backoff_until = null, blocked_on = null, retry_count = 0, failed_since = null,
      touches = touches + 1, version = version + 1, updated_at = now(),
      run = null, handled = null, state = reached
    where sme_user_uuid = its_uuid and confirmed_at is null and state <> 'deleted' and deleting is null
    returning *;
  if not found then
    -- A conflict: it is somebody's, or admission has written it this very moment.
    return query insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, cluster_id, object_uid,
        object_namespace, object_name, object_created_at, confirmed_at, due_at)
      values (its_uuid, its_tenant, its_email, its_cluster, its_object, its_namespace, its_name, its_creation, now(), now())
      on conflict (sme_user_uuid) do nothing
      returning *;
    if not found then
      return;
    end if;
  end if;

  delete from waiting where object_uid = its_object;
  -- `coalesce` keeps the planner from going through all candidates, of which it believes that there are none.
  update user_provision_state set voided_at = now(), due_at = null, updated_at = now()
  where object_uid = its_object and sme_user_uuid <> its_uuid and coalesce(confirmed_at, voided_at) is null;
end $$;
