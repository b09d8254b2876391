-- Which master key the gateway account's password was derived from; null: not derived, or not known.
alter table user_provision_state add column newapi_master_key integer;
-- Until when the key before the last rotation is to live; null: there is none.
alter table user_provision_state add column previous_key_until timestamptz;
