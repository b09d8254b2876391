-- The durable record: one row a person, kept for ever for audit.
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

  -- What is being done, what is done, when to look again.
  reached          text not null default 'pending' check (reached in ('pending', 'kc_created', 'newapi_created',
                     'secret_applied', 'done')),
  run              jsonb,
  handled          jsonb,
  blocked_on       text,
  due_at           timestamptz,
  backoff_until    timestamptz,
  failed_since     timestamptz,
  missing_since    timestamptz,
  -- Counts every "look at this row"; a look that came during a run is not lost when the run is recorded.
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
  -- The Secret as the service itself last wrote or found it good: a sight of this very version is no change.
  secret_version   text,
  managed          jsonb not null default '{"groups":[],"realmRoles":[],"attributes":[],"labels":[],"annotations":[]}',
  newapi_username  text,
  enabled          boolean not null default true,

  -- The key: only ever counted and dated here.
  key_generation   bigint not null default 0,
  key_rotated_at   timestamptz,
  rotation         jsonb,
  invited_kc_user_id text,

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

-- Objects that cannot have a row yet.
create table waiting (
  object_uid  uuid primary key,
  namespace   text not null,
  name        text not null,
  tenant      text,
  email       text not null,
  created_at  timestamptz not null,
  why         text not null
);
create index waiting_tenant_email on waiting (tenant, email, created_at, object_uid);

-- The last accepted spec of each Tenant, mirrored from the cluster by the reconciler.
create table tenants (
  tenant_id          text primary key,
  object_uid         uuid not null,
  name               text not null unique,
  object_created_at  timestamptz not null,
  accepted           jsonb not null,
  -- Changes whenever a saga should look again: spec taken over, credentials renewed.
  revision           text not null,
  ready              boolean not null default false,
  problems           jsonb not null default '[]',
  updated_at         timestamptz not null default now()
);

-- When the people of a tenant are next compared with what its neighbours hold; whoever moves it on does it.
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
  seq        bigint generated always as identity primary key,
  id         uuid not null unique,
  payload    jsonb not null,
  created_at timestamptz not null default now(),
  sent_at    timestamptz
);
create index outbox_unsent on outbox (seq) where sent_at is null;

-- Append-only: every write to the outside.
create table audit (
  seq           bigint generated always as identity primary key,
  at            timestamptz not null default now(),
  sme_user_uuid uuid not null,
  sme_tenant_id text not null,
  step          text not null,
  action        text not null,
  target        text,
  detail        jsonb
);
create index audit_user on audit (sme_user_uuid, seq);
create function audit_is_append_only() returns trigger language plpgsql as $$
begin
  raise exception 'audit rows are never changed';
end $$;
create trigger audit_append_only before update or delete on audit
  for each row execute function audit_is_append_only();
