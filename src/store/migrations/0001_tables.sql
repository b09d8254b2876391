-- The durable record: one row a person, kept for audit. Which field of the saga stands in which column: src/store/columns.ts.
create table user_provision_state (
  -- The columns of the decision record.
  sme_user_uuid    uuid primary key,
  sme_tenant_id    text not null,
  email            text not null,
  state            text not null default 'pending' check (state in ('pending', 'kc_created', 'newapi_created',
                     'secret_applied', 'done', 'failed', 'deleting', 'deleted', 'retained', 'orphaned')),
  kc_user_id       text,
  newapi_user_id   text,
  retry_count      integer not null default 0,
  last_error       jsonb,
  created_at       timestamptz not null default now(),
  updated_at       timestamptz not null default now(),

  -- Which object holds it. Unconfirmed until the object with this uid was seen in the cluster.
  cluster_id        text,
  object_uid        uuid,
  object_namespace  text,
  object_name       text,
  object_created_at timestamptz,
  confirmed_at      timestamptz,
  voided_at         timestamptz,

  -- What is being done, what is done, and when the row is polled again.
  reached          text not null default 'pending' check (reached in ('pending', 'kc_created', 'newapi_created',
                     'secret_applied', 'done')),
  run              jsonb,
  handled          jsonb,
  blocked_on       text,
  due_at           timestamptz,
  backoff_until    timestamptz,
  failed_since     timestamptz,
  missing_since    timestamptz,
  -- Counts every request to poll this row; one that came during a run is not lost when the run is recorded.
  touches          bigint not null default 0,

  -- Somebody changed a thing of this person outside while a run was under way, which may have passed it by already: from
  -- this step on everything is ensured again when the run ends. {step, version}: the version of the Secret that was seen;
  -- without one it went, or it is not about the Secret.
  recheck          jsonb,

  -- The lease: dead when over, or when its owner's session advisory lock is free. `version` fences every record.
  lease_owner      integer,
  lease_until      timestamptz,
  version          bigint not null default 0,

  -- What going down needs, copied from the object before the first outside call.
  deletion_policy  text not null default 'Delete',
  adopted          boolean not null default false,
  secret_namespace text,
  secret_name      text,
  secret_uid       uuid,
  -- The Secret as the service itself last wrote or found it good: an observation of this very version is no change.
  secret_version   text,
  -- Other places where a Secret of this person may stand: noted before it is made there, cleared when only one is left.
  secret_places    jsonb not null default '[]',
  managed          jsonb not null default '{"groups":[],"realmRoles":[],"attributes":[],"labels":[],"annotations":[]}',
  newapi_username  text,
  -- Which master key the gateway account's password was derived from; null: not derived, or not known.
  newapi_master_key integer,
  enabled          boolean not null default true,

  -- The key: only ever counted and dated here.
  key_generation   bigint not null default 0,
  key_rotated_at   timestamptz,
  rotation         jsonb,
  -- Until when the key before the last rotation is to live; null: there is none.
  previous_key_until timestamptz,

  invited_kc_user_id text,
  -- The invitation that Keycloak refused, and when it is sent again; null: none was refused.
  refused_invitation jsonb,
  -- Accounts that another person had before (a subset of "keycloak" and "newapi"): what still opens them goes first. Null: none.
  to_reset         jsonb,

  -- Going down.
  deleting         jsonb,

  history          jsonb not null default '[]'
);

-- Only rows with work are in these: at rest they are empty, whatever the number of rows.
create index user_provision_state_due on user_provision_state (sme_tenant_id, due_at) where due_at is not null;
create index user_provision_state_due_first on user_provision_state (due_at) where due_at is not null;
create unique index user_provision_state_object on user_provision_state (object_uid)
  where object_uid is not null and confirmed_at is not null;
create index user_provision_state_candidate on user_provision_state (object_uid) where object_uid is not null;
create index user_provision_state_email on user_provision_state (sme_tenant_id, email);
create index user_provision_state_unconfirmed on user_provision_state (created_at)
  where confirmed_at is null and voided_at is null;
-- The watch of Secrets finds the person of one by its place, and those of a namespace.
create index user_provision_state_secret on user_provision_state (secret_namespace, secret_name)
  where secret_namespace is not null;
-- Who waits for something in a namespace to make way for their Secret: the names are watched.
create index user_provision_state_obstacle on user_provision_state (sme_tenant_id)
  where last_error->>'code' in ('SecretForeign', 'SecretTerminating', 'SecretRefused');
-- Those whose object nobody has seen, by namespace, and those of them who never were, the oldest of each tenant first. Written
-- so that no other statement is planned with them: `confirmed_at is null` alone would be answered from an index of which the
-- planner believes that it is empty, by reading all of it.
create index user_provision_state_unseen on user_provision_state (object_namespace)
  where coalesce(confirmed_at, 'infinity') = 'infinity';
create index user_provision_state_void on user_provision_state (sme_tenant_id, voided_at)
  where coalesce(confirmed_at, 'infinity') = 'infinity' and voided_at is not null;

-- Objects that cannot have a row yet.
create table waiting (
  object_uid  uuid primary key,
  namespace   text not null,
  name        text not null,
  tenant      text,
  email       text not null,
  created_at  timestamptz not null,
  why         text not null,
  -- The uuid that the object asks for.
  pin         uuid,
  -- The generation of which its status says that it waits, and why.
  told        bigint
);
-- They are found by what was released, never by reading all of them.
create index waiting_tenant_email on waiting (tenant, email, created_at, object_uid);
create index waiting_quota on waiting (tenant, created_at, object_uid) where why = 'QuotaFull';
create index waiting_pin on waiting (tenant, pin, created_at, object_uid) where pin is not null;
create index waiting_tenant on waiting (tenant, object_uid);
create index waiting_namespace on waiting (namespace, object_uid);

-- The last accepted spec of each Tenant, mirrored from the cluster by the reconciler.
create table tenants (
  tenant_id          text primary key,
  object_uid         uuid not null,
  name               text not null unique,
  object_created_at  timestamptz not null,
  accepted           jsonb not null,
  -- Changes whenever a saga should be polled again: the spec was accepted, credentials were renewed.
  revision           text not null,
  ready              boolean not null default false,
  problems           jsonb not null default '[]',
  updated_at         timestamptz not null default now()
);

-- When the people of a tenant are next compared with what its upstreams hold; whoever moves it on does it.
create table drift_checks (
  tenant_id  text primary key,
  next_at    timestamptz not null
);

create table tenant_namespaces (
  namespace  text primary key,
  tenant_id  text not null references tenants (tenant_id) on delete cascade
);

create function notify_tenants_changed() returns trigger language plpgsql as $$
begin
  perform pg_notify('tenants_changed', '');
  return null;
end $$;
create trigger tenants_changed after insert or update or delete on tenants
  for each statement execute function notify_tenants_changed();
create trigger tenants_changed after insert or update or delete on tenant_namespaces
  for each statement execute function notify_tenants_changed();

-- Events leave in the transaction of the state they tell of, and are sent afterwards, at least once.
create table outbox (
  seq           bigint generated always as identity primary key,
  id            uuid not null unique,
  payload       jsonb not null,
  created_at    timestamptz not null default now(),
  sent_at       timestamptz,
  -- Who an event is about, and its tenant: order is kept per person, places are shared by tenants.
  tenant_id     text generated always as (payload->>'tenant_id') stored,
  sme_user_uuid uuid generated always as ((payload->'data'->>'sme_user_uuid')::uuid) stored,
  -- One event that could not be sent holds back the later ones of its person until `retry_at`, and nobody else's.
  attempts      integer not null default 0,
  retry_at      timestamptz,
  -- NATS will never take it as it is: a person decides. Later events of its person leave.
  parked_at     timestamptz,
  parked_reason text
);
create index outbox_unsent on outbox (tenant_id, seq) where sent_at is null and parked_at is null;
create index outbox_held_back on outbox (sme_user_uuid, seq) where sent_at is null and parked_at is null and retry_at is not null;
create index outbox_parked on outbox (seq) where parked_at is not null;
create index outbox_sent on outbox (sent_at) where sent_at is not null;

-- Append-only: every write to the outside. `id` names an entry, so that one that is told again, because the first answer was
-- lost, is there once.
create table audit (
  seq           bigint generated always as identity primary key,
  at            timestamptz not null default now(),
  sme_user_uuid uuid not null,
  sme_tenant_id text not null,
  step          text not null,
  action        text not null,
  target        text,
  detail        jsonb,
  id            uuid
);
create index audit_user on audit (sme_user_uuid, seq);
create unique index audit_id on audit (id);
create function audit_is_append_only() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and current_setting('unified_rbac.forgets_audit', true) = 'on' then
    return old;
  end if;
  raise exception 'audit rows are never changed';
end $$;
create trigger audit_append_only before update or delete on audit
  for each row execute function audit_is_append_only();
