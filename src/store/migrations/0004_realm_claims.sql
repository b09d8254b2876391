-- What a Tenant's realm says of its own identity, and since when the Tenant claims that realm: one realm has many addresses.
-- Domains: those of allow.emailDomains that the claim is about; none are all of them.
alter table tenants
  add column realm_id text,
  add column realm_domains text[] not null default '{}',
  add column realm_claimed_at timestamptz;
create index tenants_realm on tenants (realm_id) where realm_id is not null;
