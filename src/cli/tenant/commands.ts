/** Commands of the onboarding for people to run, beside those of src/api/setupCommands.ts. Pure; never a secret in them. */
import { OPERATOR_NAMESPACE } from "../../api/meta.ts";
import { gatewaySecret, keycloakSecret, replaceSecret } from "../../api/setupCommands.ts";
import { DEFAULT_DIALECT } from "../../api/tenant.ts";
import { DIALECTS } from "../../gateway/dialects/index.ts";
import { raw, shell } from "../../lib/shell.ts";
import { secretNames, type TenantValues } from "./values.ts";

/** Once for the whole installation; a Secret that exists stays as it is, for users' passwords are derived from it. */
export function masterKeys(): string[] {
  const create = shell`kubectl -n ${OPERATOR_NAMESPACE} create secret generic unified-rbac-master-keys --from-file=keys=./master-keys`;
  return [
    `(umask 077; printf '1: %s\\n' "$(openssl rand -hex 32)" > master-keys)`,
    shell`${raw(create)} && kubectl -n ${OPERATOR_NAMESPACE} rollout restart deployment unified-rbac`,
  ];
}

export function gitSecret(namespace: string, name: string): string {
  return replaceSecret(namespace, name, ["--from-file=username=./username", "--from-file=password=./password"]);
}

/** Every Secret of a tenant that is about to be onboarded. */
export function credentialSecrets(values: TenantValues): string[] {
  const names = secretNames(values);
  return [
    ...keycloakSecret({ realm: values.KEYCLOAK_REALM, credentialsSecretName: names.keycloak }),
    ...gatewaySecret({
      credentialsSecretName: names.newapi,
      credentialKeys: DIALECTS[values.NEWAPI_DIALECT ?? DEFAULT_DIALECT].credentialKeys,
    }),
    shell`kubectl create namespace ${values.NAMESPACE}`,
    gitSecret(values.NAMESPACE, names.git),
  ];
}
