/** AdmissionReviews as the API server sends them, and a client that speaks to a webhook as it does. */
import { randomUUID } from "node:crypto";
import { Agent, request } from "node:https";
import { buffer } from "node:stream/consumers";
import { API_VERSION, GROUP } from "../../src/api/meta.ts";
import { tenantID as asTenantID } from "../../src/api/names.ts";
import { type TenantSpecInput, tenantSpec } from "../../src/api/tenant.ts";
import type { TenantUserSpecInput } from "../../src/api/tenantUser.ts";
import type { KnownTenant } from "../../src/store/tenantDirectory.ts";

export interface UserOptions {
  readonly name?: string;
  readonly namespace?: string;
  readonly spec?: Partial<TenantUserSpecInput> & Record<string, unknown>;
  readonly metadata?: Record<string, unknown>;
}

export function userObject(options: UserOptions = {}) {
  const { name = "ada", namespace = "tenant-a" } = options;
  return {
    apiVersion: API_VERSION,
    kind: "TenantUser",
    metadata: { name, namespace, uid: randomUUID(), ...options.metadata },
    spec: { email: `${name}@example.com`, ...options.spec },
  };
}

export interface ReviewOptions extends UserOptions {
  readonly uid?: string;
  readonly operation?: string;
  readonly dryRun?: boolean;
  readonly object?: unknown;
  readonly oldObject?: unknown;
  readonly kind?: string;
}

export function reviewOf(options: ReviewOptions = {}) {
  const { operation = "CREATE", namespace = "tenant-a", name = "ada", kind = "TenantUser" } = options;
  return {
    kind: "AdmissionReview",
    apiVersion: "admission.k8s.io/v1",
    request: {
      uid: options.uid ?? randomUUID(),
      kind: { group: GROUP, version: "v1alpha1", kind },
      resource: { group: GROUP, version: "v1alpha1", resource: "tenantusers" },
      name,
      namespace,
      operation,
      userInfo: { username: "system:serviceaccount:tenant-a:flux", groups: ["system:authenticated"] },
      object: "object" in options ? options.object : userObject(options),
      oldObject: options.oldObject ?? null,
      dryRun: options.dryRun ?? false,
      options: null,
    },
  };
}

export function knownTenant(id = "acme", spec: Partial<TenantSpecInput> = {}): KnownTenant {
  return {
    tenantID: asTenantID(id),
    name: id,
    spec: tenantSpec.parse({
      tenantID: id,
      namespaces: ["tenant-a"],
      keycloak: { url: "https://keycloak.example.com", realm: id, credentialsSecretName: "keycloak" },
      newapi: { url: "https://newapi.example.com", credentialsSecretName: "newapi" },
      ...spec,
    }),
  };
}

export interface ReviewAnswer {
  readonly apiVersion: string;
  readonly kind: string;
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly status?: { readonly code: number; readonly message: string };
    readonly patchType?: string;
    readonly patch?: string;
    readonly warnings?: readonly string[];
  };
}

export interface WebhookClient {
  send(
    path: string,
    body: unknown,
    options?: { method?: string; headers?: Record<string, string> },
  ): Promise<{ status: number; headers: NodeJS.Dict<string | string[]>; answer: ReviewAnswer }>;
  close(): void;
}

/** Trusts `ca` alone. A body that is not text or bytes is sent as JSON. */
export function webhookClient(target: {
  port: number;
  ca: string;
  servername?: string;
  /** Shown when the webhook asks for one. */
  certificate?: { cert: string; key: string };
}): WebhookClient {
  const { ca, servername = "localhost", certificate } = target;
  const agent = new Agent({ keepAlive: true, ca, servername, ...certificate });
  return {
    send(path, body, { method = "POST", headers = { "content-type": "application/json" } } = {}) {
      const bytes = typeof body === "string" || Buffer.isBuffer(body) ? Buffer.from(body) : JSON.stringify(body);
      return new Promise((resolve, reject) => {
        const made = request({ host: "127.0.0.1", port: target.port, path, method, headers, agent }, (response) => {
          buffer(response)
            .then((text) => ({
              status: response.statusCode ?? 0,
              headers: response.headers,
              answer: JSON.parse(text.toString("utf8")) as ReviewAnswer,
            }))
            .then(resolve, reject);
        });
        made.on("error", reject);
        made.end(bytes);
      });
    },
    close: () => agent.destroy(),
  };
}
