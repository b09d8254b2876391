-- The admission request that a row is worked on for, and its trace: {"requestUID": ..., "traceparent": ...}. Empty again when
-- that work is finished. What follows from it leaves with the events that are put into the outbox meanwhile.
alter table user_provision_state add column cause jsonb;
alter table outbox add column traceparent text;

-- What admission writes (0003), with the request. A webhook of the version before calls them without, and may do so until
-- its Pod has ended.
drop function record_candidate(uuid, uuid, text, text, text, text);
drop function record_candidates(boolean, uuid[], uuid[], text[], text[], text[], text[], bigint[]);

-- One object that is being made, of a tenant without a limit: whoever comes alone waits for nothing else.
create function record_candidate(its_uuid uuid, its_object uuid, its_tenant text, its_email text, its_namespace text,
  its_name text, its_cause jsonb default null, out inserted boolean, out touched boolean, out held_by text, out is_full boolean)
language plpgsql volatile security definer set enable_seqscan = off as $$
declare
  made uuid;
begin
  -- Nobody waits for the disk (docs/adr/0011). True of this transaction alone.
  perform set_config('synchronous_commit', 'off', true);
  if its_uuid is not null and (select count(*) from (
    select from user_provision_state u where u.object_namespace = its_namespace
      and coalesce(u.confirmed_at, 'infinity') = 'infinity' limit most_unseen()) as unseen) < most_unseen()
  then
    insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name, cause)
    values (its_uuid, its_tenant, its_email, its_object, its_namespace, its_name, its_cause)
    on conflict (sme_user_uuid) do nothing
    returning object_uid into made;
  end if;
  inserted := made is not null;
  touched := false;
  is_full := false;
  -- `is distinct from`: an index of the objects, which a plain comparison could be answered from, would be read whole.
  -- Empty: its name is not told in another namespace.
  held_by := (select case when u.object_namespace = its_namespace then u.object_name else '' end
    from user_provision_state u
    where u.sme_tenant_id = its_tenant and u.email = its_email and u.object_uid is distinct from its_object
      and u.confirmed_at is not null and u.voided_at is null
      and u.state not in ('deleting', 'deleted', 'retained', 'orphaned')
    limit 1);
end $$;

-- Several, all of them new or none, answered in their order. Each read of the table is a subquery of one object, which only
-- an index can answer: as a join the planner would read the whole table, for it learned its numbers when it was small. For
-- the same reason what was locked is updated by its place. Rows are made in the order of their keys, so that two batches
-- never wait for each other.
create function record_candidates(fresh boolean, uuids uuid[], objects uuid[], tenants text[], emails text[],
  namespaces text[], names text[], limits bigint[], causes jsonb[] default null)
returns table (inserted boolean, touched boolean, held_by text, is_full boolean)
language plpgsql volatile security definer set enable_seqscan = off as $$
#variable_conflict use_column
begin
  perform set_config('synchronous_commit', 'off', true);
  return query
  with seen as materialized (
    select * from unnest(uuids, objects, tenants, emails, namespaces, names, limits, causes)
      with ordinality as s (uuid, object_uid, tenant_id, email, namespace, name, max_users, cause, n)
  ), free as (
    -- A confirmed row of an object becomes due, unless it waits in backoff; one that somebody is writing right now is
    -- passed over, for nobody here has time to wait, and the watch touches it too.
    select (select u.ctid from user_provision_state u
             where u.object_uid = seen.object_uid and u.confirmed_at is not null and u.voided_at is null
               and u.state not in ('deleted', 'orphaned') and (u.backoff_until is null or u.backoff_until <= now())
               for update skip locked) as place
      from seen where not fresh
  ), touch as (
    update user_provision_state u set due_at = least(u.due_at, now()), touches = u.touches + 1,
       cause = coalesce((select s.cause from seen s where s.object_uid = u.object_uid and s.cause is not null
                          order by s.n desc limit 1), u.cause)
     where u.ctid = any (array(select place from free where place is not null))
    returning u.object_uid
  ), wanted as (
    -- An object without a row gets an unconfirmed one; it is nothing to claim until the reconciler has seen the object, so
    -- it has no due_at. Any other row is left alone: a POST of a name that exists comes by here with a fresh uid before
    -- the API server answers 409.
    select seen.*, row_number() over (partition by seen.namespace order by seen.uuid) as place from seen
     where seen.uuid is not null and (fresh or (select u.object_uid from user_provision_state u
             where u.object_uid = seen.object_uid and u.voided_at is null limit 1) is null)
  ), made as (
    insert into user_provision_state (sme_user_uuid, sme_tenant_id, email, object_uid, object_namespace, object_name, cause)
    select w.uuid, w.tenant_id, w.email, w.object_uid, w.namespace, w.name, w.cause from wanted w
     where w.place + (select count(*) from (
        select from user_provision_state u where u.object_namespace = w.namespace
          and coalesce(u.confirmed_at, 'infinity') = 'infinity' limit most_unseen()) as unseen) <= most_unseen()
     order by w.uuid
    on conflict (sme_user_uuid) do nothing
    returning object_uid
  ), tenant as materialized (
    select limited.id, (select count(*) from (select from user_provision_state u
                 where u.sme_tenant_id = limited.id
                   and u.confirmed_at is not null and u.voided_at is null
                   and u.state not in ('deleting', 'deleted')
                 limit limited.most) as those) as living
      from (select seen.tenant_id as id, max(seen.max_users) as most from seen where fresh and seen.max_users is not null
             group by 1) as limited
  )
  select seen.object_uid in (select m.object_uid from made m), seen.object_uid in (select t.object_uid from touch t),
    (select case when u.object_namespace = seen.namespace then u.object_name else '' end from user_provision_state u
      where u.sme_tenant_id = seen.tenant_id and u.email = seen.email and u.object_uid is distinct from seen.object_uid
        and u.confirmed_at is not null and u.voided_at is null
        and u.state not in ('deleting', 'deleted', 'retained', 'orphaned')
      limit 1),
    coalesce((select tenant.living >= seen.max_users from tenant where tenant.id = seen.tenant_id), false)
  from seen order by seen.n;
end $$;

do $$
declare
  its_function text;
begin
  foreach its_function in array array[
    'record_candidate(uuid, uuid, text, text, text, text, jsonb)',
    'record_candidates(boolean, uuid[], uuid[], text[], text[], text[], text[], bigint[], jsonb[])'
  ] loop
    execute format('alter function %s set search_path = %I, pg_temp', its_function, current_schema());
    execute format('revoke all on function %s from public', its_function);
  end loop;
end $$;
