/** flux/install and flux/tenant by a real Flux; what needs controllers that do not run here, against their definitions. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { randomBytes } from "node:crypto";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import { stringify } from "yaml";

import { substitute } from "../../src/cli/tenant/template.ts";
import { liveTenant } from "../../src/api/tenant.ts";
import { objectPath } from "../../src/kube/objects.ts";
import { applyText, kubectl } from "../../stack/kube.ts";
import { obtainDefinitions } from "../../stack/obtain/definitions.ts";
import { kustomizationsPath } from "../../stack/onboard.ts";
import { projectRoot } from "../../stack/paths.ts";
import { run } from "../../stack/process.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { FLUX_ACCOUNT, makePlatformRepository, type PlatformRepository } from "../support/platformRepository.ts";
import { soon } from "../support/soon.ts";
import { seenKustomization } from "../support/tenant.ts";

const LONG = 600_000;
const PATIENCE_MS = 240_000;
const FLUX = kustomizationsPath("flux-system");
const id = `byflux-${randomBytes(3).toString("hex")}`;
const VALUES = {
  TENANT: id,
  NAMESPACE: `tenant-${id}`,
  GIT_URL: `https://git.example/${id}/people.git`,
  KEYCLOAK_URL: "https://sso.example",
  KEYCLOAK_REALM: id,
  NEWAPI_URL: "https://llm.example",
};

const CHARTS = { UNIFIED_RBAC_CHARTS_URL: "oci://registry.example/platform/charts" };

/** The same in another namespace, which goes at once. */
const TRIED = { ...VALUES, NAMESPACE: `tried-${id}` };

let platform: Platform;
beforeAll(async () => {
  platform = await openPlatform();
}, LONG);
afterAll(() => platform?.close());

const render = (path: string): Promise<string> => kubectl(platform.env, ["kustomize", join(projectRoot, path)]);

/** `flux/install` with one of its components. */
async function withComponent(component: string): Promise<string> {
  const folder = mkdtempSync(join(projectRoot, ".stack", "install-"));
  try {
    const up = (path: string): string => relative(folder, join(projectRoot, path));
    const kind = { apiVersion: "kustomize.config.k8s.io/v1beta1", kind: "Kustomization" };
    const content = { ...kind, resources: [up("flux/install")], components: [up(component)] };
    writeFileSync(join(folder, "kustomization.yaml"), JSON.stringify(content));
    return await kubectl(platform.env, ["kustomize", folder]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe("for controllers that do not run here", () => {
  let definitions: string;
  beforeAll(async () => {
    definitions = await obtainDefinitions();
    await kubectl(platform.env, ["apply", "--server-side", "-R", "-f", definitions]);
    const kinds = [
      "externalsecrets.external-secrets.io",
      "helmreleases.helm.toolkit.fluxcd.io",
      ...["receivers", "providers", "alerts"].map(inFlux),
    ];
    await kubectl(platform.env, ["wait", "--for=condition=Established", ...kinds.map((kind) => `crd/${kind}`)]);
    for (const name of ["flux-system", TRIED.NAMESPACE]) {
      await kubectl(platform.env, ["create", "namespace", name]).catch(() => "");
    }
  }, 900_000);
  afterAll(async () => {
    await kubectl(platform.env, ["delete", "-R", "-f", definitions]);
    await kubectl(platform.env, ["delete", "namespace", TRIED.NAMESPACE, "--wait=false"]);
  }, LONG);
  const inFlux = (plural: string): string => `${plural}.notification.toolkit.fluxcd.io`;

  /** As an apply would be answered: the published schema, every field known. */
  const tryOut = (text: string): Promise<string> =>
    kubectl(
      platform.env,
      [
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "--field-manager=e2e",
        "-o",
        "name",
        "-f",
        "-",
      ],
      text,
    );

  it.each([
    ["flux/install/notifications", 3, { UNIFIED_RBAC_GIT_URL: "https://git.example/platform/unified-rbac.git" }],
    ["flux/tenant/notifications", 3, TRIED],
    ["flux/tenant/external-secrets", 3, TRIED],
  ])("the API server takes %s under the published definitions", async (path, objects, values) => {
    const names = await tryOut(substitute(await render(path), values));
    expect(names.trim().split("\n")).toHaveLength(objects);
  });

  it("and the product as HelmReleases, in place of the Kustomizations", async () => {
    const names = await tryOut(substitute(await withComponent("flux/install/helm"), CHARTS));
    expect(names.trim().split("\n").toSorted()).toEqual([
      "helmrelease.helm.toolkit.fluxcd.io/unified-rbac",
      "helmrelease.helm.toolkit.fluxcd.io/unified-rbac-crds",
      "ocirepository.source.toolkit.fluxcd.io/unified-rbac",
      "ocirepository.source.toolkit.fluxcd.io/unified-rbac-crds",
    ]);
  });

  it("and the ExternalSecrets of the product", async () => {
    const file = join(projectRoot, "manifests/overlays/external-secrets/external-secrets.yaml");
    expect((await tryOut(readFileSync(file, "utf8"))).trim().split("\n")).toHaveLength(2);
  });

  it("and would refuse what those do not know", async () => {
    const text = substitute(await render("flux/tenant/notifications"), TRIED);
    await expect(tryOut(text.replace("type: github", "type: gittea"))).rejects.toThrow(/Unsupported value: "gittea"/);
    await expect(tryOut(text.replace("providerRef:", "provider:"))).rejects.toThrow(/provider/);
    const releases = substitute(await withComponent("flux/install/helm"), CHARTS);
    await expect(tryOut(releases.replace("targetNamespace", "targetNamespaces"))).rejects.toThrow(/targetNamespaces/);
    const secrets = substitute(await render("flux/tenant/external-secrets"), TRIED);
    await expect(tryOut(secrets.replace("refreshInterval", "refreshEvery"))).rejects.toThrow(/refreshEvery/);
  });
});

describe("by a real Flux", () => {
  let repository: PlatformRepository;
  beforeAll(async () => {
    const { env, kube } = platform;
    repository = await makePlatformRepository(env, kube, `install-${id}`);
    const { clone } = repository;
    for (const folder of ["manifests", "flux"]) {
      cpSync(join(projectRoot, folder), join(clone.dir, folder), { recursive: true });
    }
    // The platform's overlay: for this stack, one of the overlay `local`.
    const port = readFileSync(join(env.STACK_DIR, "data", "product", "port"), "utf8").trim();
    const patch = (kind: string, path: string): object => ({
      target: { kind, name: "unified-rbac" },
      patch: JSON.stringify([
        { op: "replace", path: "/webhooks/0/clientConfig/url", value: `https://127.0.0.1:${port}${path}` },
      ]),
    });
    clone.write(
      "platform/kustomization.yaml",
      stringify({
        apiVersion: "kustomize.config.k8s.io/v1beta1",
        kind: "Kustomization",
        resources: ["../manifests/overlays/local"],
        patches: [
          patch("MutatingWebhookConfiguration", "/mutate"),
          patch("ValidatingWebhookConfiguration", "/validate"),
        ],
      }),
    );
    await clone.push("Version 0.1.0");
    const git = (...args: readonly string[]) => run({ file: "git", args, cwd: clone.dir });
    await git("tag", "v0.1.0");
    await git("push", "--quiet", "origin", "v0.1.0");
  }, LONG);
  afterAll(async () => {
    const { env } = platform;
    const gone = ["--ignore-not-found", "--wait=true"];
    const all = [`tenant-${id}`, "unified-rbac", "unified-rbac-definitions"];
    await kubectl(env, ["-n", "flux-system", "delete", "kustomization", ...all, ...gone]);
    await kubectl(env, ["-n", "flux-system", "delete", "gitrepository", "unified-rbac", ...gone]);
    await kubectl(env, ["delete", "tenant", id, ...gone]);
    await kubectl(env, ["delete", "namespace", VALUES.NAMESPACE, "--ignore-not-found", "--wait=false"]);
    await repository?.remove();
  }, LONG);

  const ready = (name: string) =>
    soon(async () => {
      const { ready: said, lastAppliedRevision } = seenKustomization(await platform.kube.get(`${FLUX}/${name}`));
      assert.equal(said?.status, "True", `${name}: ${said?.message ?? "nothing yet"}`);
      // Flux writes its conditions first, and the rest of its status in the next call.
      assert.notEqual(lastAppliedRevision, "", `${name}: no revision yet`);
      return { at: said?.lastTransitionTime ?? "", lastAppliedRevision };
    }, PATIENCE_MS);

  it(
    "the product is installed: definitions first, then the rest, and it continues working",
    async () => {
      const text = substitute(await render("flux/install"), {
        UNIFIED_RBAC_GIT_URL: repository.url,
        UNIFIED_RBAC_PATH: "./platform",
      });
      await applyText(platform.env, text);
      // The login to a private repository is the platform's patch.
      const source = "/apis/source.toolkit.fluxcd.io/v1/namespaces/flux-system/gitrepositories/unified-rbac";
      await platform.kube.patch(source, { spec: { secretRef: { name: repository.secret } } }, "e2e");
      const definitions = await ready("unified-rbac-definitions");
      const product = await ready("unified-rbac");
      expect(definitions.at <= product.at).toBe(true);
      expect(product.lastAppliedRevision).toMatch(/^v0\.1\.0@/);

      const managers = ["get", "crd", "tenantusers.catalyst.openova.io", "--show-managed-fields"];
      const labels = "jsonpath={.metadata.labels.kustomize\\.toolkit\\.fluxcd\\.io/name}";
      // One owner: the second Kustomization leaves the definitions alone.
      expect(await kubectl(platform.env, [...managers, "-o", labels])).toBe("unified-rbac-definitions");
      const tenant = await platform.tenant("after-install");
      await tenant.apply("ada");
      await tenant.person("ada");
    },
    LONG,
  );

  it(
    "a tenant is onboarded from the component and its values alone",
    async () => {
      const text = stringify({
        apiVersion: "kustomize.toolkit.fluxcd.io/v1",
        kind: "Kustomization",
        metadata: { name: `tenant-${id}`, namespace: "flux-system" },
        spec: {
          serviceAccountName: FLUX_ACCOUNT,
          sourceRef: { kind: "GitRepository", name: "unified-rbac" },
          path: "./flux/tenant",
          interval: "10m",
          retryInterval: "2s",
          prune: true,
          deletionPolicy: "Orphan",
          dependsOn: [{ name: "unified-rbac" }],
          postBuild: { substitute: VALUES },
          patches: [
            {
              target: { kind: "Tenant" },
              patch: "- op: add\n  path: /spec/allow\n  value: { emailDomains: [acme.example] }\n",
            },
          ],
        },
      });
      await applyText(platform.env, text);
      await ready(`tenant-${id}`);
      const tenant = liveTenant.parse(await platform.kube.get(objectPath("Tenant", { name: id })));
      expect(tenant.spec).toMatchObject({
        keycloak: { credentialsSecretName: `${id}-keycloak` },
        newapi: { credentialsSecretName: `${id}-newapi`, publicBaseURL: "https://llm.example" },
        deletionGrace: "7d",
        allow: { emailDomains: ["acme.example"] },
      });
      const people = await platform.kube.get(`${kustomizationsPath(VALUES.NAMESPACE)}/users`);
      expect(people?.["spec"]).toMatchObject({ force: false, serviceAccountName: "flux-tenant", interval: "10m" });
    },
    LONG,
  );
});
