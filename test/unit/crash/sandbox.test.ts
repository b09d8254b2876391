import { parseAllDocuments } from "yaml";
import { expect, it } from "vitest";
import * as z from "zod";

import { renderTenant } from "../../../stack/tenant.ts";
import { COLLECTIONS, FLUX } from "../../crash/sandbox.ts";

const shape = z.looseObject({ apiVersion: z.string(), kind: z.string() });

it("everything that a tenant consists of has a sandbox in the crash tests", () => {
  const text = renderTenant({
    TENANT: "one",
    NAMESPACE: "tenant-one",
    GIT_URL: "http://none.invalid/people.git",
    KEYCLOAK_URL: "http://keycloak.invalid",
    KEYCLOAK_REALM: "one",
    NEWAPI_URL: "http://gateway.invalid",
    NEWAPI_PUBLIC_URL: "http://gateway.invalid",
    NEWAPI_DIALECT: "new-api",
    DELETION_GRACE: "0s",
  });
  const objects = parseAllDocuments(text).map((document) => shape.parse(document.toJS()));
  const kinds = objects.filter(({ apiVersion }) => !FLUX.test(apiVersion)).map(({ kind }) => kind);
  expect(kinds).toContain("Tenant");
  expect(kinds.filter((kind) => !(kind in COLLECTIONS))).toEqual([]);
});
