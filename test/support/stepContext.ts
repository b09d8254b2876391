/** What a step works with, in memory. */
import { desire } from "../../src/saga/desired.ts";
import type { LiveTenantUser } from "../../src/api/tenantUser.ts";
import { patched, type RowPatch, type SagaRow } from "../../src/saga/row.ts";
import type { UpContext, Written } from "../../src/steps/step.ts";
import { NOW, sagaRow, tenant, tenantUser } from "./builders.ts";
import { type FakeCluster, makeFakeCluster } from "./fakeCluster.ts";
import { type FakeGateway, type FakeRealm, makeFakeGateway, makeFakeRealm } from "./fakeUpstreams.ts";

export interface Bench {
  readonly realm: FakeRealm;
  readonly gateway: FakeGateway;
  readonly cluster: FakeCluster;
  /** What was written outside, as the audit has it. */
  readonly wrote: Written[];
  /** Intents, as they were recorded. */
  readonly notes: RowPatch[];
  readonly signal: AbortSignal;
  /** The context of one claim: nothing carried over from another. */
  context(row?: SagaRow, user?: LiveTenantUser, given?: Partial<UpContext>): UpContext;
}

export function makeBench(gateway: FakeGateway = makeFakeGateway()): Bench {
  const cluster = makeFakeCluster();
  cluster.createNamespace("tenant-a");
  cluster.createNamespace("tenant-b");
  const realm = makeFakeRealm();
  const wrote: Written[] = [];
  const notes: RowPatch[] = [];
  return {
    realm,
    gateway,
    cluster,
    wrote,
    notes,
    signal: new AbortController().signal,
    context: (row = sagaRow(), user = tenantUser().build(), given = {}) => ({
      row,
      cluster,
      realm: () => realm,
      gateway: () => gateway,
      accountDeletion: "Disable",
      wrote: (written) => void wrote.push(written),
      note: (patch) => {
        notes.push(patch);
        return Promise.resolve();
      },
      carry: {},
      now: () => NOW.getTime(),
      desired: desire(user, tenant()),
      realmName: "acme",
      adoption: "Never",
      allowedGroups: [],
      newIn: undefined,
      ...given,
    }),
  };
}

export function learned(row: SagaRow, patch: RowPatch): SagaRow {
  return patched(row, patch);
}
