-- The watch of Secrets finds the person of one by its place, and those of a namespace.
create index user_provision_state_secret on user_provision_state (secret_namespace, secret_name)
  where secret_namespace is not null;
