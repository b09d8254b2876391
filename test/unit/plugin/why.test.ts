import { describe, expect, test } from "vitest";
import { CONDITION, REASON } from "../../../src/api/reasons.ts";
import { liveTenant } from "../../../src/api/tenant.ts";
import { why, whyGone } from "../../../src/plugin/why.ts";
import { readyCondition, tenant } from "../../support/builders.ts";
import { NOW, personWith, READY, sagaWith, stalledBy, waitingFor } from "./people.ts";

const OPERATOR = "unified-rbac-system";
const ask = (person: ReturnType<typeof personWith>, of?: ReturnType<typeof tenantThatSays>) =>
  why({ person, tenant: of, operatorNamespace: OPERATOR }, NOW);

function tenantThatSays(reason: string, message: string) {
  return liveTenant.parse({
    apiVersion: "catalyst.openova.io/v1alpha1",
    kind: "Tenant",
    metadata: {
      name: "acme",
      uid: "u",
      resourceVersion: "1",
      generation: 1,
      creationTimestamp: "2026-05-01T10:00:00Z",
    },
    spec: tenant(),
    status: { conditions: [readyCondition({ status: "False", reason, message })] },
  });
}

describe("every reason", () => {
  test.each(Object.values(REASON))("%s has a paragraph with who acts, and a command", (reason) => {
    const told = ask(personWith({ conditions: stalledBy(reason) }));
    expect(told.reason).toBe(reason);
    expect(told.paragraph).toMatch(
      /^ada \(ada@example\.com\) is stalled since 2026-05-01 11:30:00Z .*Somebody must act\. .*(Nobody needs to act|The tenant must act|The platform must act)\. .*:$/,
    );
    expect(told.paragraph).not.toMatch(/undefined|\s\s|\.\.|`/);
    expect(told.command).toMatch(/^kubectl /);
  });
});

describe("somebody", () => {
  test("who is Ready needs nobody", () => {
    const told = ask(personWith({ conditions: [READY] }));
    expect(told).toMatchObject({ reason: "Ready", actor: "nobody" });
    expect(told.paragraph).toContain("is Ready since 2026-05-01 11:30:00Z (30 min ago), Ready: The key opens");
    expect(told.command).toBe("kubectl tenantuser status ada -n tenant-a");
  });

  test("who waits for the Tenant is told what the Tenant waits for, and the command that fixes that", () => {
    const person = personWith({ conditions: waitingFor("TenantNotReady") });
    const told = ask(person, tenantThatSays("KeycloakCredentialsMissing", "Secret k does not exist."));
    expect(told.paragraph).toContain("is not Ready and continues automatically");
    expect(told.paragraph).toContain("The Tenant acme says KeycloakCredentialsMissing: Secret k does not exist.");
    expect(told).toMatchObject({ actor: "platform", command: "kubectl get secrets -n unified-rbac-system" });
  });

  test("whose Tenant may not be read gets a command with a word to fill in", () => {
    expect(ask(personWith({ conditions: waitingFor("TenantNotReady") })).command).toBe(
      "kubectl describe tenant TENANT",
    );
  });

  test("who is done but for what the gateway cannot do is told that", () => {
    const note = {
      type: CONDITION.NewAPIReady,
      reason: "NotSupportedByGateway",
      message: "The gateway knows no tiers.",
    };
    const told = ask(personWith({ conditions: [READY, note] }));
    expect(told).toMatchObject({ reason: "NotSupportedByGateway", actor: "platform" });
    expect(told.paragraph).toContain("The gateway knows no tiers.");
  });

  test("whose newest file the reconciler has not observed is told so", () => {
    const told = ask(personWith({ metadata: { generation: 2 }, conditions: [READY] }));
    expect(told.paragraph).toContain("is being changed");
    expect(told.paragraph).toContain("an older version of the file");
  });

  test("who has not been observed, who is suspended, who is being deleted", () => {
    expect(ask(personWith()).paragraph).toContain("has not been observed yet");
    const suspended = { type: "Suspended", reason: "Suspended", message: "Suspended." };
    expect(ask(personWith({ conditions: [READY, suspended] })).command).toBe(
      "kubectl tenantuser resume ada -n tenant-a",
    );
    const going = personWith({ metadata: { deletionTimestamp: "2026-05-01T11:59:00Z" }, conditions: [READY] });
    expect(ask(going)).toMatchObject({ reason: "Deleting", command: expect.stringContaining("--for gone") });
  });

  test("with a reason of a newer reconciler still gets its message", () => {
    const told = ask(personWith({ conditions: stalledBy("FluxCapacitor", "It is empty.") }));
    expect(told.paragraph).toContain("It is empty.");
  });

  test("whose tenant wrote control characters cannot leave the line", () => {
    const told = ask(personWith({ conditions: stalledBy("NotAllowed", "no\u001B[2J\nyes") }));
    expect(told.paragraph).not.toMatch(/\p{C}/u);
  });
});

test.each([
  ["an option", "--server=https://evil.example"],
  ["two words", "a b"],
  ["two commands", "a;b"],
  ["endless", "a".repeat(100_000)],
])("a Secret's name in a falsified status that is %s is no part of a command", (_what, secretName) => {
  const told = ask(personWith({ status: { secretName }, conditions: stalledBy("SecretForeign") }));
  expect(told.command).toBe("kubectl get secret SECRET -n tenant-a");
  expect(told.paragraph).not.toContain(secretName);
});

describe("somebody who has no object any more", () => {
  test.each([
    [{ state: "orphaned", ownerless: "orphaned" }, "Orphaned", /Restore the file/, "kubectl tenantuser purge ada"],
    [{ state: "retained", ownerless: "retained" }, "Retained", /Retain/, "kubectl tenantuser purge ada"],
    [
      { state: "deleting", pending: ["keycloak"] },
      "CleanupPending",
      /Pending cleanup: keycloak/,
      "kubectl tenantuser cleanups",
    ],
    [
      { state: "deleting", ownerless: "grace", purgeAt: "2026-05-08T12:00:00Z" },
      "Deleting",
      /deletion grace ends at 2026-05-08/,
      "kubectl tenantuser wait ada",
    ],
    [{ state: "deleted" }, "Deleting", /All accounts are removed/, "kubectl tenantuser audit ada"],
  ] as const)("is explained from the state store: %o", (given, reason, said, command) => {
    const { pending = [], ...rest } = given as Partial<Parameters<typeof sagaWith>[0]> & object;
    const told = whyGone(sagaWith({ ...rest, pending: [...pending] }), OPERATOR, NOW);
    expect(told.reason).toBe(reason);
    expect(told.paragraph).toMatch(said);
    expect(told.command).toContain(command);
  });
});
