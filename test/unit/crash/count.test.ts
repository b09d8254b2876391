import { describe, expect, it } from "vitest";

import { liveTenantUser } from "../../../src/api/tenantUser.ts";
import { userEvent } from "../../../src/api/userEvent.ts";
import { broken, type Inventory, doubled, sha256, stalled } from "../../crash/count.ts";

const UUID = "5d0b2b57-6a4f-5c0e-8a41-0d6f5f1a2b3c";
const KEY = "key-of-ada";
const ADA = { email: "ada@one.example", enabled: true, groups: undefined, secretName: undefined };
const EXPECTED = new Map([["ada", ADA]]);

const object = liveTenantUser.parse({
  apiVersion: "catalyst.openova.io/v1alpha1",
  kind: "TenantUser",
  metadata: {
    name: "ada",
    namespace: "tenant-one",
    uid: "u1",
    resourceVersion: "1",
    generation: 2,
    creationTimestamp: "2026-01-01T00:00:00Z",
  },
  spec: { email: "ada@one.example" },
  status: {
    observedGeneration: 2,
    userUUID: UUID,
    keycloak: { userID: "kc-1" },
    newapi: { userID: "usr_1" },
    secretName: "newapi-key-ada",
    conditions: [
      {
        type: "Ready",
        status: "True",
        reason: "Ready",
        message: "Everything is in place.",
        lastTransitionTime: "2026-01-01T00:00:00Z",
        observedGeneration: 2,
      },
    ],
  },
});

const created = userEvent(
  {
    type: "sme.user.created",
    uuid: UUID,
    tenantID: "one",
    email: "ada@one.example",
    keycloakUserID: "kc-1",
    newapiUserID: "usr_1",
    secretName: "newapi-key-ada",
    n: "",
    metadata: {},
  },
  new Date(0),
);

const keycloakUser = {
  id: "kc-1",
  email: "ada@one.example",
  enabled: true,
  tenantMark: "one",
  uuidMark: UUID,
  groups: ["/sme-users"],
};
const account = { id: "usr_1", uuid: UUID, disabled: false, keys: [sha256(KEY)] };
const row = { uuid: UUID, objectUID: "u1", state: "done", madeNothing: false, busy: false };

const whole: Inventory = {
  tenant: "one",
  objects: [object],
  keycloakUsers: [keycloakUser],
  accounts: [account],
  secrets: [{ name: "newapi-key-ada", apiKey: KEY }],
  rows: [row],
  waiting: 0,
  unsent: 0,
  events: [created, created],
  opens: new Map([[KEY, 200]]),
};

describe("the count", () => {
  it("finds nothing wrong where everybody has one of each, also when an event was sent twice", () => {
    expect(broken(whole, EXPECTED)).toEqual([]);
  });

  it.each<[string, Partial<Inventory>, string]>([
    ["a second Keycloak user", { keycloakUsers: [keycloakUser, { ...keycloakUser, id: "kc-2" }] }, "2 Keycloak users"],
    [
      "an unmanaged user in Keycloak",
      { keycloakUsers: [keycloakUser, { ...keycloakUser, uuidMark: undefined }] },
      "unmanaged user",
    ],
    ["a disabled user", { keycloakUsers: [{ ...keycloakUser, enabled: false }] }, "is disabled"],
    ["a second account", { accounts: [account, { ...account, id: "usr_2" }] }, "2 accounts"],
    ["a second live key", { accounts: [{ ...account, keys: [sha256(KEY), "other"] }] }, "2 live keys"],
    ["another key in the Secret", { accounts: [{ ...account, keys: ["other"] }] }, "is not its account's"],
    ["an open account of nobody", { accounts: [account, { ...account, uuid: "gone" }] }, "an open account of gone"],
    ["no Secret", { secrets: [] }, "has no Secret"],
    ["a Secret too many", { secrets: [...whole.secrets, { name: "newapi-key-old", apiKey: "x" }] }, "2 Secrets for 1"],
    ["an old key that opens", { opens: new Map([...whole.opens, ["old", 200]]) }, "in no Secret any more"],
    ["a key that does not open", { opens: new Map([[KEY, 401]]) }, "answers 401"],
    ["work left", { rows: [{ ...row, busy: true }] }, "not at rest"],
    [
      "a row of somebody gone",
      { rows: [row, { ...row, uuid: "x", objectUID: null, state: "deleting" }] },
      "is deleting",
    ],
    [
      "an orphan with an account",
      { rows: [row, { ...row, uuid: "x", objectUID: null, state: "orphaned" }] },
      "is orphaned",
    ],
    ["an event unsent", { unsent: 1 }, "unsent"],
    ["somebody who waits", { waiting: 1 }, "wait for a row"],
    ["no event", { events: [] }, "0 ids of sme.user.created"],
    ["a second id of created", { events: [created, { ...created, id: "other" }] }, "2 ids of sme.user.created"],
    ["nobody", { objects: [] }, "ada is not in the cluster"],
  ])("finds %s", (_what, change, sentence) => {
    expect(broken({ ...whole, ...change }, EXPECTED).join("\n")).toContain(sentence);
  });

  it("finds nothing wrong with an orphan for whom nothing was ever made", () => {
    const orphan = { ...row, uuid: "x", objectUID: null, state: "orphaned", madeNothing: true };
    expect(broken({ ...whole, rows: [row, orphan] }, EXPECTED)).toEqual([]);
  });

  it("finds who should be gone, an old generation and a wrong wish", () => {
    expect(broken(whole, new Map()).join()).toContain("ada is still in the cluster");
    const edited = { ...object, metadata: { ...object.metadata, generation: 3 } };
    expect(broken({ ...whole, objects: [edited] }, EXPECTED).join()).toContain("older generation");
    const groups = new Map([["ada", { ...ADA, groups: ["/team-a"] }]]);
    expect(broken(whole, groups).join()).toContain("is in the groups /sme-users");
    const email = new Map([["ada", { ...ADA, email: "ada-2@one.example" }]]);
    expect(broken(whole, email).join()).toContain("instead of ada-2@one.example");
  });
});

describe("what stands in the table of outages", () => {
  it("counts what is there twice, of every kind", () => {
    expect(doubled(whole)).toBe(0);
    const twice: Inventory = {
      ...whole,
      keycloakUsers: [keycloakUser, { ...keycloakUser, id: "kc-2" }],
      accounts: [account, { ...account, id: "usr_2", keys: ["one", "two"] }],
      secrets: [...whole.secrets, { name: "newapi-key-old", apiKey: "x" }],
    };
    expect(doubled(twice)).toBe(4);
  });

  it("counts who waits for somebody to act", () => {
    expect(stalled(whole)).toBe(0);
    const condition = { ...object.status?.conditions?.[0], type: "Stalled" };
    const waits = liveTenantUser.parse({ ...object, status: { ...object.status, conditions: [condition] } });
    expect(stalled({ ...whole, objects: [waits] })).toBe(1);
  });
});
