/** What the roles view, edit and admin of a namespace mean for the people in it: the API server's own answer to each question. */
import { randomBytes } from "node:crypto";
import { afterAll, assert, beforeAll, describe, expect, it } from "vitest";
import * as z from "zod";

import { kubectl } from "../../stack/kube.ts";
import { openPlatform, type Platform } from "../support/platform.ts";
import { soon } from "../support/soon.ts";

const review = z.looseObject({ status: z.looseObject({ allowed: z.boolean() }) });
const ROLES = ["view", "edit", "admin"] as const;
const READ = ["get", "list", "watch"];
const WRITE = ["create", "update", "patch", "delete", "deletecollection"];
const namespace = `roles-${randomBytes(3).toString("hex")}`;
let platform: Platform;

beforeAll(async () => {
  platform = await openPlatform();
  await kubectl(platform.env, ["create", "namespace", namespace]);
  for (const role of ROLES) {
    const binding = ["create", "rolebinding", role, `--clusterrole=${role}`, `--user=${role}`, "-n", namespace];
    await kubectl(platform.env, binding);
  }
  // Aggregation is a controller's work.
  await soon(async () => assert(await may("edit", "create", "tenantusers")), 30_000);
});
afterAll(async () => {
  await kubectl(platform.env, ["delete", "namespace", namespace, "--wait=false"]);
  await platform.close();
});

/** `resource` may name a subresource: tenantusers/status. */
async function may(user: string, verb: string, resource: string, where = namespace): Promise<boolean> {
  const [name, subresource] = resource.split("/");
  const group = "catalyst.openova.io";
  const { body } = await platform.api.send("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SubjectAccessReview",
    spec: { user, resourceAttributes: { namespace: where, verb, group, resource: name, subresource } },
  });
  return review.parse(body).status.allowed;
}

const allowed = async (user: string, resource: string, where?: string): Promise<string[]> => {
  const answers = await Promise.all(
    [...READ, ...WRITE].map(async (verb) => [verb, await may(user, verb, resource, where)] as const),
  );
  return answers.filter(([, yes]) => yes).map(([verb]) => verb);
};

describe("whoever holds in a namespace", () => {
  it.each([
    ["view", READ],
    ["edit", [...READ, ...WRITE]],
    ["admin", [...READ, ...WRITE]],
  ] as const)("the role %s may, of its TenantUsers, do this: %j", async (role, verbs) => {
    expect(await allowed(role, "tenantusers")).toEqual(verbs);
    expect(await allowed(role, "tenantusers", "default")).toEqual([]);
  });

  it.each(ROLES)("the role %s writes neither status nor finalizers, and no Tenant", async (role) => {
    const theirs = ["tenantusers/status", "tenantusers/finalizers", "tenants", "tenants/status"];
    const held = await Promise.all(theirs.map(async (resource) => [resource, await allowed(role, resource)]));
    expect(held).toEqual(theirs.map((resource) => [resource, []]));
  });
});
