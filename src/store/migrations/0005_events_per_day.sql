-- How many events of a tenant were sent within a day.
create index outbox_sent_of_tenant on outbox (tenant_id, sent_at) where sent_at is not null;
