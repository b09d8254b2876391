-- Other places where a Secret of this person may stand: noted before it is made there, cleared when only one is left.
alter table user_provision_state add column secret_places jsonb not null default '[]';

-- Names an entry, so that one that is told again, because the first answer was lost, is there once.
alter table audit add column id uuid;
create unique index audit_id on audit (id);
