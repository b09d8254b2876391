/** What is shipped in manifests/ and flux/, rendered by a real kubectl: the promises that a reviewer would look for. */
import { execFileSync } from "node:child_process";
import { appendFileSync, cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import * as z from "zod";
import { EXTRAS, tenantDirectory } from "../../src/cli/tenant/template.ts";
import { parseConfig } from "../../src/lib/config.ts";
import { SECRET_VERBS } from "../../src/api/setupCommands.ts";
import { obtainKubectl } from "../../stack/obtain/kubectl.ts";
import { containerOf, readManifests } from "../../stack/product/manifests.ts";
import { renderTenant, substitute } from "../../stack/tenant.ts";

const ROOT = join(import.meta.dirname, "../..");
const object = z.looseObject({
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), namespace: z.string().optional() }),
});
type Object = z.infer<typeof object>;
const rules = z.array(
  z.object({
    apiGroups: z.array(z.string()),
    resources: z.array(z.string()),
    resourceNames: z.array(z.string()).optional(),
    verbs: z.array(z.string()),
  }),
);

let kubectl: string;
beforeAll(async () => {
  kubectl = await obtainKubectl();
}, 900_000);

const render = (folder: string): string =>
  execFileSync(kubectl, ["kustomize", join(ROOT, folder)], { encoding: "utf8", maxBuffer: 8 << 20 });
const readText = (path: string): string => readFileSync(join(ROOT, path), "utf8");
const read = (text: string): Object[] => parseAllDocuments(text).map((document) => object.parse(document.toJS()));
const rulesOf = (objects: readonly Object[], kind: string) =>
  objects.filter((each) => each.kind === kind).flatMap((each) => rules.parse(each["rules"]));
/** For people: nothing of it is the reconciler's. */
const ON_CALL = "unified-rbac-oncall";
const keyOf = ({ kind, metadata }: Object): string => `${kind}/${metadata.namespace ?? ""}/${metadata.name}`;

describe("the rights of the reconciler", () => {
  it("reach no Secret outside its own namespace, and hold no wildcard", () => {
    const objects = read(render("manifests/overlays/default"));
    for (const rule of rulesOf(objects, "ClusterRole")) expect(rule.resources).not.toContain("secrets");
    for (const each of objects.filter(({ kind }) => kind === "Role")) {
      expect(each.metadata.namespace).toBe("unified-rbac-system");
    }
    const all = [...rulesOf(objects, "ClusterRole"), ...rulesOf(objects, "Role")];
    for (const rule of all) {
      expect([...rule.apiGroups, ...rule.resources, ...rule.verbs].filter((word) => word.includes("*"))).toEqual([]);
    }
  });

  it("name the very objects that they are about", () => {
    const objects = read(render("manifests/overlays/default"));
    const named = [...rulesOf(objects, "ClusterRole"), ...rulesOf(objects, "Role")].flatMap(
      (rule) => rule.resourceNames ?? [],
    );
    expect(named.toSorted()).toEqual(["tenantusers.catalyst.openova.io", "unified-rbac", "unified-rbac-webhook-tls"]);
  });

  it("hold no more than reading Secrets where cert-manager makes the certificate", () => {
    const objects = read(render("manifests/overlays/cert-manager")).filter(({ metadata }) => metadata.name !== ON_CALL);
    expect(objects.filter(({ metadata }) => metadata.name === "unified-rbac-certificates")).toEqual([]);
    expect(rulesOf(objects, "Role")).toEqual([
      { apiGroups: [""], resources: ["secrets"], verbs: ["get", "list", "watch"] },
    ]);
  });
});

describe("the rights of those on call", () => {
  it("change TenantUsers and look at the rest, reach the operator's port, and are nobody's until the platform binds them", () => {
    const objects = read(render("manifests/overlays/default"));
    const theirs = objects.filter(({ metadata }) => metadata.name === ON_CALL);
    expect(theirs.map(({ kind }) => kind).toSorted()).toEqual(["ClusterRole", "Role"]);
    const held = [...rulesOf(theirs, "ClusterRole"), ...rulesOf(theirs, "Role")].flatMap(({ resources, verbs }) =>
      resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
    );
    expect(held.filter((right) => !/^(get|list|watch) (tenantusers|tenants|events|pods)$/.test(right))).toEqual([
      "patch tenantusers",
      "create pods/portforward",
      "get pods/portforward",
    ]);
    const bindings = objects.filter(({ kind }) => kind.endsWith("Binding"));
    expect(bindings.filter((binding) => JSON.stringify(binding["roleRef"]).includes(ON_CALL))).toEqual([]);
  });
});

/** What the kubelet would mount. */
const mounted = (path: string): string => {
  const files: Record<string, string> = { "/database/url": "postgres://db/rbac", "/nats/password": "hunter2" };
  const text = files[path];
  if (text === undefined) throw Object.assign(new Error("no such file"), { code: "ENOENT" });
  return text;
};

describe("the Deployment", () => {
  it("gives every container a configuration that it accepts", () => {
    const manifests = readManifests(render("manifests/overlays/default"));
    const facts = {
      podName: "unified-rbac-0",
      secrets: {},
      override: {},
    };
    for (const role of ["migrate", "webhook", "reconciler"] as const) {
      const { args, env } = containerOf(manifests, role, facts);
      expect(args).toEqual([role]);
      expect(parseConfig(role, env, mounted).role).toBe(role);
    }
    const { env } = containerOf(manifests, "reconciler", facts);
    expect(parseConfig("reconciler", env, mounted)).toMatchObject({
      identity: "unified-rbac-0",
      operator: { host: "127.0.0.1", port: 8082 },
      operatorNamespace: "unified-rbac-system",
      webhookTLS: { secretName: manifests.tlsSecret.name, handoverDir: "/tls-handover", managed: true },
    });
    const { tlsDirs } = parseConfig("webhook", containerOf(manifests, "webhook", facts).env, mounted);
    expect(tlsDirs).toEqual(["/tls", "/tls-handover"]);
  });

  it("gives no container a secret in its environment, and each the one database login that is its own", () => {
    const containers = z.array(
      z.looseObject({
        name: z.string(),
        env: z.array(z.looseObject({ name: z.string(), valueFrom: z.looseObject({}).optional() })),
        volumeMounts: z.array(
          z.object({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().default(false) }),
        ),
      }),
    );
    const volumes = z.array(
      z.looseObject({
        name: z.string(),
        secret: z.looseObject({ secretName: z.string(), items: z.array(z.object({ key: z.string() })) }).optional(),
        emptyDir: z.object({ medium: z.string(), sizeLimit: z.string() }).optional(),
      }),
    );
    const app = read(render("manifests/overlays/default")).find(({ kind }) => kind === "Deployment");
    const pod = z
      .object({ template: z.object({ spec: z.object({ initContainers: containers, containers, volumes }) }) })
      .parse(app?.["spec"]).template.spec;
    const keyOfVolume = (name: string) => {
      const secret = pod.volumes.find((volume) => volume.name === name)?.secret;
      return secret === undefined ? undefined : `${secret.secretName}/${secret.items.map(({ key }) => key).join(",")}`;
    };
    const held = [...pod.initContainers, ...pod.containers].map(({ name, env, volumeMounts }) => {
      expect(JSON.stringify(env)).not.toContain("secretKeyRef");
      return [name, volumeMounts.flatMap((mount) => keyOfVolume(mount.name) ?? []).toSorted()];
    });
    expect(Object.fromEntries(held)).toEqual({
      migrate: ["unified-rbac-database/url"],
      webhook: ["unified-rbac-database/webhook-url", "unified-rbac-webhook-tls/tls.crt,tls.key"],
      reconciler: ["unified-rbac-database/reconciler-url", "unified-rbac-master-keys/keys"],
    });
    // The one folder that a container may write: in memory, from the reconciler to the webhook.
    const shared = pod.volumes.filter(({ emptyDir }) => emptyDir !== undefined);
    expect(shared).toEqual([{ name: "tls-handover", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } }]);
    const writers = [...pod.initContainers, ...pod.containers].flatMap(({ name, volumeMounts }) =>
      volumeMounts.filter(({ readOnly }) => !readOnly).map((mount) => `${name}: ${mount.name}`),
    );
    expect(writers).toEqual(["reconciler: tls-handover"]);
  });

  it("reaches what it needs and no more: DNS, Postgres, NATS, the API server, the Tenants' Keycloak and gateways", () => {
    const policy = read(render("manifests/overlays/default")).find(({ kind }) => kind === "NetworkPolicy");
    const spec = z
      .object({
        policyTypes: z.array(z.string()),
        egress: z.array(z.looseObject({ ports: z.array(z.looseObject({ port: z.number() })) })),
      })
      .parse(policy?.["spec"]);
    expect(spec.policyTypes).toEqual(["Ingress", "Egress"]);
    const ports = spec.egress.map((rule) => rule.ports.map(({ port }) => port));
    expect(ports).toEqual([[53, 53], [5432], [4222], [443, 6443], [443, 8080, 8443, 3000]]);
  });

  it.each(["client-certificate", "nats-login"])("of overlay %s mounts what its settings name", (overlay) => {
    const manifests = readManifests(render(`manifests/overlays/${overlay}`));
    const role = overlay === "nats-login" ? "reconciler" : "webhook";
    const { env } = containerOf(manifests, role, { podName: "p", secrets: {}, override: {} });
    const config = parseConfig(role as "reconciler", env, mounted);
    expect(JSON.stringify(config)).toContain(overlay === "nats-login" ? "/nats/ca.crt" : "/admission-clients/ca.crt");
    const app = read(manifests.text).find(({ kind }) => kind === "Deployment");
    const containers = z
      .object({ template: z.object({ spec: z.object({ containers: z.array(z.looseObject({ name: z.string() })) }) }) })
      .parse(app?.["spec"]).template.spec.containers;
    const folder = overlay === "nats-login" ? "/nats" : "/admission-clients";
    const holders = containers.filter((each) =>
      JSON.stringify(each["volumeMounts"]).includes(`"mountPath":"${folder}"`),
    );
    expect(holders.map(({ name }) => name)).toEqual([role]);
  });

  it("gives the token to the reconciler alone, and locks every container", () => {
    const pod = z.object({
      automountServiceAccountToken: z.literal(false),
      securityContext: z.looseObject({ runAsNonRoot: z.literal(true) }),
      initContainers: z.array(z.looseObject({})),
      containers: z.array(z.looseObject({ name: z.string() })),
    });
    const app = read(render("manifests/overlays/default")).find(({ kind }) => kind === "Deployment");
    const spec = z.object({ template: z.object({ spec: pod }) }).parse(app?.["spec"]).template.spec;
    const holders = spec.containers.filter((each) => JSON.stringify(each["volumeMounts"]).includes('"token"'));
    expect(holders.map(({ name }) => name)).toEqual(["reconciler"]);
    for (const each of [...spec.initContainers, ...spec.containers]) {
      expect(each["securityContext"]).toEqual({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ["ALL"] },
      });
    }
  });
});

describe("the labels", () => {
  it.each(["default", "cert-manager", "external-secrets", "monitoring"])(
    "that Kubernetes recommends are on every object of overlay %s, with the version of the package",
    (overlay) => {
      const { version } = z.object({ version: z.string() }).parse(JSON.parse(readText("package.json")));
      for (const { kind, metadata } of read(render(`manifests/overlays/${overlay}`))) {
        const { labels } = z.looseObject({ labels: z.record(z.string(), z.string()) }).parse(metadata);
        expect({ kind, name: metadata.name, ...labels }).toMatchObject({
          "app.kubernetes.io/name": "unified-rbac",
          "app.kubernetes.io/instance": "unified-rbac",
          "app.kubernetes.io/version": version,
          "app.kubernetes.io/component": expect.stringMatching(/^[a-z]+$/),
          "app.kubernetes.io/part-of": "unified-rbac",
          "app.kubernetes.io/managed-by": "kustomize",
        });
      }
    },
  );

  it("that select Pods are the one that never changes: a selector cannot be changed", () => {
    const app = read(render("manifests/overlays/default")).find(({ kind }) => kind === "Deployment");
    expect(app?.["spec"]).toMatchObject({ selector: { matchLabels: { "app.kubernetes.io/name": "unified-rbac" } } });
    expect(JSON.stringify(app?.["spec"])).not.toContain(`"matchLabels":{"app.kubernetes.io/component"`);
  });
});

describe("the rights that the roles view and edit receive", () => {
  it("are about TenantUsers alone, and neither about their status nor their finalizers", () => {
    const aggregated = read(render("manifests/overlays/default")).filter(({ metadata }) =>
      JSON.stringify(metadata).includes("rbac.authorization.k8s.io/aggregate-to-"),
    );
    expect(aggregated.map(({ metadata }) => metadata.name)).toEqual(["unified-rbac-edit", "unified-rbac-view"]);
    expect(rulesOf(aggregated, "ClusterRole").map(({ apiGroups, resources }) => [apiGroups, resources])).toEqual([
      [["catalyst.openova.io"], ["tenantusers"]],
      [["catalyst.openova.io"], ["tenantusers"]],
    ]);
  });
});

describe("the webhook configurations", () => {
  it("see TenantUsers only, pass over no-op updates, ignore failure and carry no CA", () => {
    const found = read(render("manifests/overlays/default")).filter(({ kind }) =>
      kind.endsWith("WebhookConfiguration"),
    );
    expect(found.map(({ kind }) => kind)).toEqual(["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]);
    for (const { metadata, ...rest } of found) {
      expect(metadata.name).toBe("unified-rbac");
      const [webhook, ...others] = z.array(z.looseObject({})).parse(rest["webhooks"]);
      expect(others).toEqual([]);
      expect(webhook).toMatchObject({
        failurePolicy: "Ignore",
        timeoutSeconds: 2,
        rules: [{ resources: ["tenantusers"], operations: ["CREATE", "UPDATE"] }],
        matchConditions: [{ expression: "request.operation != 'UPDATE' || object.spec != oldObject.spec" }],
      });
      expect(JSON.stringify(webhook)).not.toContain("caBundle");
    }
  });
});

it("the overlay of the local stack differs from the shipped one only in replicas and in where the webhook is", () => {
  const [shipped, local] = ["default", "local"].map((name) => read(render(`manifests/overlays/${name}`)));
  const before = new Map(shipped?.map((each) => [keyOf(each), JSON.stringify(each)]));
  const changed = local?.filter((each) => before.get(keyOf(each)) !== JSON.stringify(each)).map(({ kind }) => kind);
  expect(local).toHaveLength(before.size);
  expect(changed?.toSorted()).toEqual(["Deployment", "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]);
});

it.each([
  "manifests/overlays/monitoring",
  "manifests/overlays/external-secrets",
  "flux/install",
  "flux/install/notifications",
  "flux/tenant",
  "flux/tenant/external-secrets",
  "flux/tenant/notifications",
])("%s can be built", (folder) => {
  expect(read(render(folder)).length).toBeGreaterThan(1);
});

describe("the installation by Flux", () => {
  const kustomization = z.looseObject({
    metadata: z.looseObject({ name: z.string() }),
    spec: z.looseObject({
      path: z.string(),
      prune: z.boolean(),
      deletionPolicy: z.literal("Orphan"),
      sourceRef: z.looseObject({ kind: z.string() }),
      dependsOn: z.array(z.looseObject({ name: z.string() })).default([]),
      patches: z.array(z.looseObject({})).default([]),
    }),
  });
  const fluxKustomizations = (objects: readonly Object[]) =>
    objects.filter(({ kind }) => kind === "Kustomization").map((each) => kustomization.parse(each));

  function build(content: object): Object[] {
    const folder = mkdtempSync(join(tmpdir(), "unified-rbac-install-"));
    try {
      // kustomize takes no absolute paths.
      writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(content));
      return read(execFileSync(kubectl, ["kustomize", folder], { encoding: "utf8", maxBuffer: 8 << 20 }));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }
  const here = (path: string): string => relative(realpathSync(tmpdir()), join(ROOT, path)).replace(/^/, "../");

  it("brings the definitions first, and never takes them away", () => {
    const [product, definitions, ...others] = fluxKustomizations(read(render("flux/install"))).toSorted((a, b) =>
      a.metadata.name.localeCompare(b.metadata.name),
    );
    expect(others).toEqual([]);
    expect(product).toMatchObject({ spec: { prune: true, dependsOn: [{ name: "unified-rbac-definitions" }] } });
    expect(definitions).toMatchObject({ spec: { path: "./manifests/crd", prune: false, wait: true } });
  });

  it("leaves the definitions to one owner: of the overlay everything else is applied", () => {
    const product = fluxKustomizations(read(render("flux/install"))).find(
      ({ metadata }) => metadata.name === "unified-rbac",
    );
    const kinds = (objects: readonly Object[]) => objects.map(keyOf).toSorted();
    const whole = read(render("manifests/overlays/default"));
    const applied = build({ resources: [here("manifests/overlays/default")], patches: product?.spec.patches });
    expect(kinds(applied)).toEqual(kinds(whole.filter(({ kind }) => kind !== "CustomResourceDefinition")));
  });

  it("takes the manifests from a registry instead, if that is wanted", () => {
    const objects = build({ resources: [here("flux/install")], components: [here("flux/install/oci")] });
    expect(objects.map(({ kind }) => kind).toSorted()).toEqual(["Kustomization", "Kustomization", "OCIRepository"]);
    expect(fluxKustomizations(objects).map(({ spec }) => spec.sourceRef.kind)).toEqual([
      "OCIRepository",
      "OCIRepository",
    ]);
  });
});

describe("the onboarding of a tenant", () => {
  const values = {
    TENANT: "acme",
    NAMESPACE: "tenant-acme",
    GIT_URL: "https://git.example/acme.git",
    KEYCLOAK_URL: "https://sso.example",
    KEYCLOAK_REALM: "acme",
    NEWAPI_URL: "https://llm.example",
  };

  it("opens the tenant's Secrets to us with exactly the verbs that the program uses", () => {
    const role = read(renderTenant(values)).find(({ metadata }) => metadata.name === "unified-rbac-secrets");
    expect(role?.["rules"]).toEqual([{ apiGroups: [""], resources: ["secrets"], verbs: [...SECRET_VERBS] }]);
  });

  it("lets Flux handle tenantusers for the tenant, and nothing else", () => {
    const role = read(renderTenant(values)).find(
      ({ kind, metadata }) => kind === "Role" && metadata.name === "flux-tenant",
    );
    expect(rules.parse(role?.["rules"]).map(({ resources }) => resources)).toEqual([["tenantusers"]]);
  });

  it("never forces, and orphans nobody's account by the removal of the Kustomization", () => {
    const sync = read(renderTenant(values)).find(({ kind }) => kind === "Kustomization");
    expect(sync?.["spec"]).toMatchObject({ force: false, wait: true, prune: true, deletionPolicy: "Orphan" });
  });

  it("fills in values, defaults and the platform's own patch", () => {
    const tenant = read(renderTenant({ ...values, DELETION_GRACE: "0s" }, { allow: { groups: ["/devs"] } })).find(
      ({ kind }) => kind === "Tenant",
    );
    expect(tenant?.["spec"]).toMatchObject({
      tenantID: "acme",
      namespaces: ["tenant-acme"],
      deletionGrace: "0s",
      keycloak: { realm: "acme", credentialsSecretName: "acme-keycloak" },
      newapi: { publicBaseURL: "https://llm.example", credentialsSecretName: "acme-newapi", tier: "default" },
      allow: { groups: ["/devs"] },
    });
  });

  it("is the same for kustomize, whether Flux fills in the values or `tenant init` did", () => {
    const folder = mkdtempSync(join(tmpdir(), "unified-rbac-tenant-"));
    try {
      for (const { name, text } of tenantDirectory(values, {}, EXTRAS)) writeFileSync(join(folder, name), text);
      const written = execFileSync(kubectl, ["kustomize", folder], { encoding: "utf8" });
      // As Flux does: the extras from spec.components are written into the kustomization, it is built, then substituted.
      const copy = join(folder, "copy");
      cpSync(join(ROOT, "flux/tenant"), copy, { recursive: true });
      appendFileSync(join(copy, "kustomization.yaml"), `components: [${EXTRAS.join(", ")}]\n`);
      const built = execFileSync(kubectl, ["kustomize", copy], { encoding: "utf8" });
      const byKey = (objects: readonly Object[]) => objects.toSorted((a, b) => keyOf(a).localeCompare(keyOf(b)));
      expect(byKey(read(written))).toEqual(byKey(read(substitute(built, values))));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("keeps what removing people needs, and the Tenant, when its directory leaves Git", () => {
    const kept = read(renderTenant(values)).filter(
      ({ metadata }) =>
        z.looseObject({ annotations: z.record(z.string(), z.string()).default({}) }).parse(metadata).annotations[
          "kustomize.toolkit.fluxcd.io/prune"
        ] === "disabled",
    );
    expect(kept.map(keyOf).toSorted()).toEqual([
      "Namespace//tenant-acme",
      "Role/tenant-acme/unified-rbac-secrets",
      "RoleBinding/tenant-acme/unified-rbac-secrets",
      "Tenant//acme",
    ]);
  });

  it("names every value that is missing", () => {
    expect(() => substitute("${TENANT} ${GIT_URL} ${GIT_SECRET:=${NAMESPACE}-git}", { TENANT: "acme" })).toThrow(
      "flux/tenant needs a value for GIT_URL, NAMESPACE",
    );
  });
});
