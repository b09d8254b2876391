import { expect, test } from "vitest";
import { TransientError, UnreadableError } from "../../../src/lib/errors.ts";
import { notItsOwn } from "../../../src/keycloak/classify.ts";
import { tooMuch } from "../../../src/lib/http.ts";
import { BodyRefused } from "../../../src/lib/body.ts";
import { makeBreakers } from "../../../src/reconciler/breakers.ts";
import { judgeCall } from "../../../src/reconciler/judge.ts";
import { makeTenantBreakers } from "../../../src/reconciler/tenantBreakers.ts";

const clock = { now: () => 1_000 };

function after(failures: readonly TransientError[]) {
  const suspected: string[] = [];
  const breakers = makeBreakers({
    clock,
    random: () => 0,
    probe: () => Promise.resolve(false),
    recovered: () => undefined,
  });
  const tenantBreakers = makeTenantBreakers({
    clock,
    requestRecheck: (tenantID) => void suspected.push(tenantID),
    recovered: () => undefined,
  });
  failures.forEach((failure, n) =>
    judgeCall(
      { breakers, tenantBreakers },
      { origin: "https://kc", tenantID: "acme", person: `p${n}`, failure, began: 1_000 },
    ),
  );
  const tenant = tenantBreakers.ask("acme", "keycloak");
  tenantBreakers.stop();
  breakers.stop();
  return { origin: breakers.open(), tenant: tenant?.why, suspected };
}

const five = (failure: TransientError): TransientError[] => Array.from({ length: 5 }, () => failure);

test.each([
  ["no Keycloak gives", notItsOwn("reading a user", [1, 2])],
  ["are more than is read", tooMuch("keycloak", new BodyRefused("it is larger than 4 MiB", 200)) as UnreadableError],
])("answers that %s keep that tenant's people away, and nobody else's", (_what, failure) => {
  expect(after(five(failure))).toEqual({ origin: [], tenant: "silent", suspected: ["acme"] });
});

test("a failure of the upstream's own, for one person each, keeps nobody away", () => {
  const failure = new TransientError({
    code: "UpstreamUnavailable",
    upstream: "keycloak",
    upstreamStatus: 500,
    message: "500",
  });
  expect(after(five(failure))).toEqual({ origin: [], tenant: undefined, suspected: [] });
});
