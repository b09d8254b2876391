-- Somebody changed a thing of this person outside while a run was under way, which may have passed it by already: from
-- this step on everything is ensured again when the run ends. {step, version}: the version of the Secret that was seen;
-- without one it went, or it is not about the Secret.
alter table user_provision_state add column recheck jsonb;
-- The Secret as the service itself last wrote or found it good: a sight of this very version is no change.
alter table user_provision_state add column secret_version text;
