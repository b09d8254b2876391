/** What the renewer of the webhook's certificate needs: its Secret, and the CA in the webhook configurations. */
import * as z from "zod";
import { FIELD_MANAGER, LABEL_MANAGED_BY } from "../api/meta.ts";
import { TerminalError } from "../lib/errors.ts";
import { pathSegment } from "../lib/ids.ts";
import type { SecretObject } from "./cluster.ts";
import type { ApiRequest, ApiClient } from "./apiClient.ts";
import { ask, moved, read } from "./exchange.ts";
import { createSecret, readSecret, replaceSecret } from "./secrets.ts";

/** PEM, as in a Secret of type kubernetes.io/tls; further entries are kept as they are given. */
export interface TLSSecretData extends Readonly<Record<string, string>> {
  readonly "tls.crt": string;
  readonly "tls.key": string;
  readonly "ca.crt": string;
}

export interface WebhookConfig {
  /** Undefined when there is none yet; `data` is base64. */
  getTLSSecret(name: string, signal: AbortSignal): Promise<SecretObject | undefined>;
  /** POST, or PUT with uid and resourceVersion of `current`. ConflictError when another replica was first: read again. */
  putTLSSecret(
    name: string,
    current: SecretObject | undefined,
    data: TLSSecretData,
    signal: AbortSignal,
  ): Promise<SecretObject>;
  /**
   * Puts the PEM bundle into every webhook of both configurations that has another one. Returns the names of the
   * configurations that do not exist. ConflictError when one changed in the same moment.
   */
  setCABundle(names: WebhookNames, caBundle: string, signal: AbortSignal): Promise<string[]>;
}

export interface WebhookNames {
  readonly mutating: string;
  readonly validating: string;
}

const configuration = z.looseObject({
  webhooks: z
    .array(z.looseObject({ name: z.string(), clientConfig: z.looseObject({ caBundle: z.string().optional() }) }))
    .optional(),
});

/** `namespace`: the operator's. */
export function makeWebhookConfig(connection: ApiClient, namespace: string): WebhookConfig {
  const setOne = async (resource: string, name: string, caBundle: string, signal: AbortSignal): Promise<boolean> => {
    const path = `/apis/admissionregistration.k8s.io/v1/${resource}/${pathSegment(name)}`;
    const looking = `get ${resource} ${name}`;
    const answer = await ask(connection, { doing: looking, request: { method: "GET", path } }, signal);
    if (answer === undefined) return false;
    const wanted = Buffer.from(caBundle, "utf8").toString("base64");
    // The name is tested because a place in a list is no identity: somebody may have added a webhook before it.
    const operations = (read(configuration, answer, looking).webhooks ?? []).flatMap((webhook, index) =>
      webhook.clientConfig.caBundle === wanted
        ? []
        : [
            { op: "test", path: `/webhooks/${index}/name`, value: webhook.name },
            { op: "add", path: `/webhooks/${index}/clientConfig/caBundle`, value: wanted },
          ],
    );
    if (operations.length === 0) return true;
    const request: ApiRequest = {
      method: "PATCH",
      path,
      query: { fieldManager: FIELD_MANAGER },
      patchType: "json",
      body: operations,
    };
    try {
      return (await ask(connection, { doing: `patch ${resource} ${name}`, request }, signal)) !== undefined;
    } catch (error) {
      const testFailed = error instanceof TerminalError && error.upstreamStatus === 422 && !isInvalid(error.body);
      if (testFailed) throw moved(`${resource} ${name}`, error);
      throw error;
    }
  };

  return {
    getTLSSecret: (name, signal) => readSecret(connection, namespace, name, signal),
    putTLSSecret(name, current, data, signal) {
      // What other people put on it stays.
      const labels = { ...current?.metadata.labels, [LABEL_MANAGED_BY]: FIELD_MANAGER };
      const body = { name, namespace, labels, annotations: current?.metadata.annotations ?? {}, data };
      return current === undefined
        ? createSecret(connection, body, "kubernetes.io/tls", signal)
        : replaceSecret(connection, current, body, signal);
    },
    async setCABundle(names, caBundle, signal) {
      const both = [
        ["mutatingwebhookconfigurations", names.mutating],
        ["validatingwebhookconfigurations", names.validating],
      ] as const;
      const found = await Promise.all(both.map(([resource, name]) => setOne(resource, name, caBundle, signal)));
      return both.filter((_entry, index) => found[index] === false).map(([, name]) => name);
    },
  };
}

/** A validation error names the field; a failed `test` does not. */
function isInvalid(said: string | undefined): boolean {
  return said?.includes(" is invalid: ") ?? false;
}
