/** The loop decide -> outcome -> advance over random histories of a person, their Tenant and the neighbours. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FINALIZER } from "../../../src/api/meta.ts";
import { ConflictError, TerminalError, TransientError, WaitingError } from "../../../src/lib/errors.ts";
import {
  afterBeginDown,
  afterDown,
  afterEnd,
  afterFailure,
  afterFinish,
  afterOrphan,
  afterRelease,
  afterUp,
  beforeUp,
} from "../../../src/saga/advance.ts";
import { FAILED_AFTER } from "../../../src/saga/backoff.ts";
import { type Action, decide, fingerprint, type Sight, type View } from "../../../src/saga/decide.ts";
import type { RowPatch, SagaRow, StepName } from "../../../src/saga/row.ts";
import { patched, STEPS } from "../../../src/saga/row.ts";
import {
  ABSENT,
  CLUSTER,
  NOW,
  sagaRow,
  sightOf,
  tenant,
  tenantUser,
  tenantView,
  type UserBuilder,
} from "../../support/builders.ts";

type Outcome = "success" | "transient" | "terminal" | "waiting" | "gone" | "lost";

type Happening =
  | { readonly kind: "work"; readonly outcomes: readonly Outcome[] }
  | {
      readonly kind: "edit";
      readonly what: "nothing" | "suspend" | "resume" | "rotate" | "forbidden" | "allowed" | "Retain" | "Delete";
    }
  | { readonly kind: "request" | "rotate" | "delete" | "lose" | "touch" | "drift" }
  | {
      readonly kind: "tenant";
      readonly what: "changed" | "gone" | "back" | "unready" | "ready" | "suspended" | "resumed";
    }
  | { readonly kind: "later"; readonly seconds: number };

const outcome = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Outcome>("success") },
  { weight: 4, arbitrary: fc.constantFrom<Outcome>("transient", "terminal", "waiting", "gone", "lost") },
);
const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constant("work" as const), outcomes: fc.array(outcome, { maxLength: 8 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("edit" as const),
      what: fc.constantFrom(
        "nothing" as const,
        "suspend",
        "resume",
        "rotate",
        "forbidden",
        "allowed",
        "Retain",
        "Delete",
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("request" as const, "rotate", "touch", "drift") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("delete" as const, "lose") }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("tenant" as const),
      what: fc.constantFrom("changed" as const, "gone", "back", "unready", "ready", "suspended", "resumed"),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("later" as const), seconds: fc.constantFrom(1, 30, 700, 7200) }),
  },
);

const FAR = 1000;

/** One person's world: the row, the object, the Tenant, and what there is outside. */
class World {
  row: SagaRow = sagaRow({ dueAt: NOW });
  now = NOW;
  /** What lives at each neighbour, by its id. */
  readonly outside = new Map<StepName, string>();
  #made = 0;
  readonly disabled = new Set<StepName>();
  #user: UserBuilder = tenantUser();
  #generation = 1;
  #marks = 0;
  #tenant = { revision: 1, there: true, ready: true, suspend: false };
  #object: "present" | "deleting" | "absent" = "present";
  #finalizer = false;
  #deletedAt = NOW;
  #sight: Sight | undefined;
  readonly grace: number;

  constructor(grace: number) {
    this.grace = grace;
  }

  get object() {
    return this.#object;
  }

  sight(): Sight {
    this.#sight ??= this.#look();
    return this.#sight;
  }

  #look(): Sight {
    if (this.#object === "absent") return ABSENT;
    const user = this.#finalizer ? this.#user : this.#user.withoutFinalizer();
    const live = this.#object === "deleting" ? user.deleting(this.#deletedAt) : user;
    return sightOf(live.withGeneration(this.#generation).build(), tenant({ suspend: this.#tenant.suspend }));
  }

  view(): View {
    const { revision, there, ready } = this.#tenant;
    return {
      row: this.row,
      sight: this.sight(),
      tenant: there ? tenantView({ revision: `r${revision}`, ready, deletionGraceMs: this.grace * 1000 }) : undefined,
      crd: "present",
      clusterID: CLUSTER,
      waiter: false,
      closed: {},
    };
  }

  #change(user: UserBuilder, generation: 0 | 1): void {
    if (this.#object !== "present") return;
    this.#user = user;
    this.#generation += generation;
    this.touch();
  }

  touch(): void {
    this.#sight = undefined;
    if (this.row.state !== "orphaned") this.#put({ dueAt: this.now, backoffUntil: null });
  }

  #put(patch: RowPatch): void {
    this.row = patched(this.row, patch);
  }

  happen(event: Exclude<Happening, { kind: "work" }>): void {
    switch (event.kind) {
      case "edit":
        return this.#edit(event.what);
      case "request":
        return this.#change(this.#user.requestedAt(`q${(this.#marks += 1)}`), 0);
      case "rotate":
        return this.#change(this.#user.rotateRequestedAt(`t${(this.#marks += 1)}`), 0);
      case "delete":
        if (this.#object !== "present") return;
        this.#object = this.#finalizer ? "deleting" : "absent";
        this.#deletedAt = this.now;
        return this.touch();
      case "lose":
        this.#object = "absent";
        return this.touch();
      case "touch":
        return this.touch();
      case "drift":
        if (this.row.state === "done" && this.row.handled !== undefined && this.row.deleting === undefined) {
          const { generation } = this.row.handled;
          this.#put({
            dueAt: this.now,
            run: this.row.run ?? { reason: "drift", generation, step: "secret", attempt: 0, done: false },
          });
        }
        return;
      case "tenant":
        return this.#changeTenant(event.what);
      case "later":
        this.now = new Date(this.now.getTime() + event.seconds * 1000);
        return;
      default:
        event satisfies never;
    }
  }

  #edit(what: Extract<Happening, { kind: "edit" }>["what"]): void {
    const user = this.#user;
    switch (what) {
      case "nothing":
        return this.#change(user.withSpec({ displayName: `n${this.#generation}` }), 1);
      case "suspend":
      case "resume":
        return this.#change(user.withSpec({ suspend: what === "suspend" }), 1);
      case "rotate":
        return this.#change(user.withSpec({ key: { generation: this.#generation } }), 1);
      case "forbidden":
        return this.#change(user.withSpec({ groups: ["admins"] }), 1);
      case "allowed":
        return this.#change(user.withSpec({ groups: [] }), 1);
      case "Retain":
      case "Delete":
        return this.#change(user.withSpec({ deletionPolicy: what }), 1);
      default:
        what satisfies never;
    }
  }

  #changeTenant(what: Extract<Happening, { kind: "tenant" }>["what"]): void {
    const before = this.#tenant;
    const changes = {
      changed: { revision: before.revision + 1 },
      gone: { there: false },
      back: { there: true },
      unready: { ready: false },
      ready: { ready: true },
      suspended: { suspend: true, revision: before.revision + 1 },
      resumed: { suspend: false, revision: before.revision + 1 },
    };
    this.#tenant = { ...before, ...changes[what] };
    this.touch();
  }

  /** Everything stands well again; what a person decided (suspend, a forbidden group, a deletion) stays. */
  heal(): void {
    this.#tenant = { ...this.#tenant, there: true, ready: true };
    this.touch();
  }

  /** One action of one claim, as the engine carries it out. True: the claim goes on. */
  perform(action: Action, how: Outcome): boolean {
    const { row, now } = this;
    switch (action.kind) {
      case "rest":
      case "suspend":
        return this.#end({}, null);
      case "sleep":
        return this.#end({}, action.until);
      case "wait":
        return this.#end({}, action.until ?? null);
      case "refuse":
        return this.#fail(
          "admission",
          new TerminalError({ code: action.refusal.reason, message: action.refusal.message }),
        );
      case "move-email":
      case "hand-over":
        throw new Error(`not of this world: ${action.kind}`);
      case "add-finalizer":
        this.#finalizer = true;
        this.#sight = undefined;
        return true;
      case "up":
        return this.#up(action, how);
      case "finish": {
        const view = this.view();
        if (view.sight.kind !== "present" || view.tenant === undefined)
          throw new Error("finished without object or Tenant");
        const { patch, next } = afterFinish(row, action.run, view.sight.desired, view.tenant, now);
        return this.#end(patch, next.kind === "retry" ? next.at : null);
      }
      case "begin-down":
        this.#put(afterBeginDown(action.objectUID, action.since, action.purgeAt).patch);
        return true;
      case "down":
        return this.#down(action, how);
      case "retain":
      case "deleted":
        this.#put(afterEnd(row, action.kind === "retain" ? "retained" : "deleted", now).patch);
        return true;
      case "miss":
        return this.#end({ missingSince: action.since }, action.until);
      case "orphan":
        if (action.release) this.#release();
        return this.#end(afterOrphan(row, now).patch, null);
      case "release": {
        this.#release();
        const { patch, next } = afterRelease(row);
        if (next.kind === "rest") return this.#end(patch, null);
        this.#put(patch);
        return true;
      }
      default:
        return action satisfies never;
    }
  }

  #release(): void {
    this.#finalizer = false;
    if (this.#object === "deleting") this.#object = "absent";
    this.#sight = undefined;
  }

  #up(action: Extract<Action, { kind: "up" }>, how: Outcome): boolean {
    const sight = this.sight();
    if (sight.kind !== "present") throw new Error("went up without an object");
    const intent = beforeUp(this.row, sight.desired, action.run, this.now);
    if (intent !== undefined) this.#put(intent);
    if (how === "success" || how === "lost") {
      this.#ensure(action.step);
      this.disabled.delete(action.step);
    }
    if (how === "lost") return false;
    if (how === "gone" && action.step === "secret") this.outside.delete("newapi");
    if (how === "success") {
      const id = this.outside.get(action.step) ?? "";
      const learned: RowPatch =
        action.step === "keycloak"
          ? { keycloakUserID: id }
          : action.step === "newapi"
            ? { newapiUserID: id }
            : { secretNamespace: "tenant-a", secretName: "s", secretUID: id };
      this.#put(afterUp(this.row, action.run, { learned, key: action.step === "secret" ? "works" : undefined }).patch);
      return true;
    }
    return this.#fail(action.step, failure(how));
  }

  /** As the steps do it: found by the recorded id or by the marks, made only where nothing is found. */
  #ensure(step: StepName): void {
    if (!this.outside.has(step)) this.outside.set(step, `${step}-${(this.#made += 1)}`);
  }

  /** An id that was recorded stays, and no other is put in its place, as long as what it names lives. */
  keeps(known: SagaRow): boolean {
    const ids = (row: SagaRow): Record<StepName, string | undefined> => ({
      keycloak: row.keycloakUserID,
      newapi: row.newapiUserID,
      secret: row.secretUID,
    });
    const [before, after] = [ids(known), ids(this.row)];
    return STEPS.every((step) => {
      const id = before[step];
      return id === undefined || id !== this.outside.get(step) || id === after[step];
    });
  }

  #down(action: Extract<Action, { kind: "down" }>, how: Outcome): boolean {
    if (how === "success" || how === "lost") {
      if (action.how === "remove" || action.step === "secret") this.outside.delete(action.step);
      else this.disabled.add(action.step);
    }
    if (how === "lost") return false;
    if (how === "success") {
      const learned: RowPatch = action.step === "secret" ? { secretUID: null } : {};
      this.#put(afterDown(this.row, action.step, action.how, learned).patch);
      return true;
    }
    return this.#fail(action.step, failure(how));
  }

  #fail(step: StepName | "admission", error: ReturnType<typeof failure>): boolean {
    const { sight, tenant: known } = this.view();
    const context = sight.kind === "present" ? { desired: sight.desired, tenant: known } : undefined;
    const { patch, next } = afterFailure(this.row, step, error, context, this.now, () => 0.5);
    return this.#end(patch, next.kind === "retry" ? next.at : null);
  }

  #end(patch: RowPatch, dueAt: Date | null): boolean {
    const sight = this.sight();
    const policy = sight.kind === "present" ? { deletionPolicy: sight.desired.deletionPolicy } : {};
    this.#put({ ...policy, ...patch, dueAt });
    return false;
  }

  /** One claim, checked at every action. */
  claim(outcomes: readonly Outcome[], check: (world: World, action: Action) => void): void {
    this.#sight = undefined;
    const left = [...outcomes];
    for (let turn = 0; ; turn += 1) {
      law(turn < 30, "a claim must end");
      const action = decide(this.view(), this.now);
      check(this, action);
      const known = this.row;
      const before = this.#everything();
      const goesOn = this.perform(
        action,
        action.kind === "up" || action.kind === "down" ? (left.shift() ?? "success") : "success",
      );
      law(this.keeps(known), "a recorded id was lost, or replaced by another, while it lived");
      if (!goesOn) return;
      law(this.#everything() !== before, `${action.kind} changed nothing and would be done for ever`);
    }
  }

  #everything(): string {
    return JSON.stringify([this.row, this.#object, this.#finalizer]);
  }

  /** Nothing fails any more: claims follow one another, time passes where the row sleeps. */
  settle(check: (world: World, action: Action) => void): void {
    this.heal();
    for (let claims = 0; this.row.dueAt !== undefined; claims += 1) {
      law(claims < FAR, "work must end");
      if (this.row.dueAt > this.now) this.now = this.row.dueAt;
      this.claim([], check);
    }
  }
}

function failure(how: Exclude<Outcome, "success" | "lost">) {
  const message = "It did not go.";
  switch (how) {
    case "transient":
      return new TransientError({ code: "NeighbourUnavailable", message });
    case "terminal":
      return new TerminalError({ code: "CredentialsRefused", message });
    case "waiting":
      return new WaitingError({ code: "TenantNotReady", message });
    case "gone":
      return new ConflictError({ code: "AccountGone", message });
    default:
      return how satisfies never;
  }
}

const DOWNWARD = new Set<Action["kind"]>([
  "begin-down",
  "down",
  "retain",
  "deleted",
  "release",
  "miss",
  "orphan",
  "sleep",
  "wait",
  "rest",
]);

/** What changes something outside on the way up. */
const OUTWARD = new Set<Action["kind"]>(["up", "add-finalizer", "move-email", "finish"]);

/** What holds at every action of every history. */
function lawful(world: World, action: Action): void {
  const { row } = world;
  const sight = world.sight();
  law(sight.kind !== "deleting" || DOWNWARD.has(action.kind), `${action.kind} although it is being deleted`);
  law(action.kind !== "deleted" || world.outside.size === 0, "called deleted with something left");
  const ended = row.state === "deleted" || row.state === "retained";
  law(!ended || ["rest", "release", "deleted", "retain"].includes(action.kind), `${action.kind} on an ended saga`);
  if (OUTWARD.has(action.kind)) {
    if (sight.kind !== "present") throw new Error(`${action.kind} without a living object`);
    const { desired, refusal } = sight;
    law(row.confirmed && !row.voided, "outside action on an unconfirmed saga");
    law(row.deleting === undefined, "outside action upwards while going down");
    law(!desired.suspend, "outside action on a suspended saga");
    law(refusal === undefined, "outside action on a refused saga");
    law(row.blockedOn !== fingerprint(desired, world.view().tenant), "outside action on a terminal saga");
    law(row.backoffUntil === undefined || row.backoffUntil <= world.now, "outside action within a pause");
  }
  if (action.kind === "up") {
    if (sight.kind !== "present") throw new Error("went up without a living object");
    const { object } = sight;
    law(object.metadata.finalizers?.includes(FINALIZER) === true, "outside action on an object that nobody holds");
    law(action.step === "keycloak" || row.keycloakUserID !== undefined, "a later step before its earlier one");
  }
  if (action.kind === "down") {
    const { deleting, deletionPolicy } = row;
    if (deleting === undefined) throw new Error("went down without a deletion");
    const { undone, locked = [], purgeAt } = deleting;
    const before = action.how === "lock" ? [...locked, ...undone] : undone;
    law(action.step === "secret" || before.includes("secret"), "something before the Secret");
    law(action.step !== "keycloak" || before.includes("newapi"), "Keycloak before the gateway");
    const inGrace = purgeAt !== undefined && new Date(purgeAt) > world.now;
    law(action.how === (inGrace ? "lock" : "remove"), inGrace ? "undone within its grace" : "locked without grace");
    law(deletionPolicy === "Delete", "undid what was to be retained");
  }
}

function law(holds: boolean, broken: string): void {
  if (!holds) throw new Error(broken);
}

/**
 * What a history has come to, whether its failures have stopped or not: a row that rests has nothing that a claim would
 * do, and one that has failed says so and is due again, or names what a person has to change.
 */
function standing(world: World): "done" | "retrying" | "terminal" | "held" | "gone" {
  const { row, now } = world;
  const sight = world.sight();
  if (row.dueAt !== undefined) {
    law(row.retryCount < FAILED_AFTER || row.deleting !== undefined || row.state === "failed", "hides that it failed");
    return "retrying";
  }
  const action = decide(world.view(), now);
  if (action.kind === "suspend") return "held";
  if (action.kind === "wait") {
    law(action.until === undefined, "waits for a moment, and is not due then");
    return "held";
  }
  if (action.kind !== "rest") throw new Error(`rests although there is to ${action.kind}`);
  if (action.why === "done") {
    law(action.until === undefined, "rests although a moment will come");
    return "done";
  }
  if (action.why === "blocked") {
    law(row.state === "failed" && row.lastError?.class === "terminal", "stalled without a word");
    return "terminal";
  }
  law(sight.kind !== "deleting", "rests with its object held");
  law(["deleted", "retained", "orphaned"].includes(row.state), `rests as ${row.state}, with work in hand`);
  return "gone";
}

/** How it may end when nothing fails any more. */
function ended(world: World): void {
  const { row, object } = world;
  const sight = world.sight();
  law(object !== "deleting", "an object hangs for ever");
  if (sight.kind !== "present") {
    law(["deleted", "retained", "orphaned"].includes(row.state), `gone, and its row is ${row.state}`);
    law(row.state !== "deleted" || (row.objectUID ?? row.deleting) === undefined, "deleted, and still held");
    return;
  }
  const { desired } = sight;
  if (row.state === "orphaned" || desired.suspend) return;
  const known = world.view().tenant;
  if (sight.refusal !== undefined || row.blockedOn === fingerprint(desired, known)) {
    law(row.state === "failed" && row.lastError?.class === "terminal", "waits for a person and does not say so");
    return;
  }
  const { handled } = row;
  law(row.state === "done" && row.reached === "done" && row.retryCount === 0, `rests as ${row.state}`);
  law(row.run === undefined && row.rotation === undefined, "rests with work in hand");
  law(handled?.generation === desired.generation, "rests without the newest spec");
  law(handled?.tenantRevision === known?.revision, "rests without the newest Tenant");
  law(handled?.requestedAt === desired.requestedAt, "rests with a request open");
  law(handled?.rotateRequestedAt === desired.rotateRequestedAt, "rests with a rotation asked for");
  law(row.keyGeneration >= desired.keyGeneration, "rests with a key generation to come");
  law(world.outside.size === 3, "rests with something missing outside");
}

function live(history: readonly Happening[], grace: number): World {
  const world = new World(grace);
  for (const event of history) {
    if (event.kind !== "work") world.happen(event);
    else if (world.row.dueAt !== undefined && world.row.dueAt <= world.now) world.claim(event.outcomes, lawful);
    standing(world);
  }
  return world;
}

describe("whatever happens, in whatever order", () => {
  const histories = fc.array(happening, { minLength: 1, maxLength: 40 });

  test(
    "every law holds, and when failures stop the work ends: done, waiting for a person, or gone",
    { timeout: 120_000 },
    () => {
      fc.assert(
        fc.property(histories, fc.constantFrom(0, 60, 3600), (history, grace) => {
          const world = live(history, grace);
          world.settle(lawful);
          expect(() => ended(world)).not.toThrow();
        }),
        { numRuns: 1500 },
      );
    },
  );

  test(
    "an object that is deleted never hangs: it is let go within ten minutes, however the neighbours fail",
    { timeout: 60_000 },
    () => {
      const failing = fc.constantFrom<Outcome>("transient", "terminal", "waiting", "gone");
      fc.assert(
        fc.property(histories, fc.constantFrom(0, 3600), fc.infiniteStream(failing), (history, grace, failures) => {
          const world = live([...history, { kind: "delete" }], grace);
          if (world.object !== "deleting") return;
          const began = world.now.getTime();
          for (let claims = 0; world.object === "deleting"; claims += 1) {
            law(claims < FAR, "it is never let go");
            if (world.row.dueAt !== undefined && world.row.dueAt > world.now) world.now = world.row.dueAt;
            world.claim([...failures.take(1)], lawful);
            law(world.row.dueAt !== undefined || world.object !== "deleting", "it rests with its object held");
          }
          expect(world.now.getTime() - began).toBeLessThanOrEqual(600_000);
          world.settle(lawful);
          expect(() => ended(world)).not.toThrow();
        }),
        { numRuns: 400 },
      );
    },
  );

  test(
    "however long its neighbours fail, a history is done, tried again, waiting for a person, held or gone",
    { timeout: 60_000 },
    () => {
      const failing = fc.constantFrom<Outcome>("transient", "lost");
      fc.assert(
        fc.property(histories, fc.constantFrom(0, 3600), fc.infiniteStream(failing), (history, grace, failures) => {
          const world = live(history, grace);
          world.heal();
          for (let claims = 0; claims < 20 && world.row.dueAt !== undefined; claims += 1) {
            if (world.row.dueAt > world.now) world.now = world.row.dueAt;
            world.claim([...failures.take(3)], lawful);
            if (standing(world) !== "retrying") return;
          }
          const { row, now } = world;
          if (row.dueAt === undefined || row.deleting !== undefined) return;
          expect(row.blockedOn).toBeUndefined();
          expect(row.dueAt.getTime() - now.getTime()).toBeLessThanOrEqual(5 * 60_000 * 1.25);
        }),
        { numRuns: 300 },
      );
    },
  );

  test("a deletion wins over everything: one claim undoes it all, whatever was in hand or in the way", () => {
    fc.assert(
      fc.property(histories, (history) => {
        const world = live(history, 0);
        if (world.object !== "present") return;
        const { state } = world.row;
        world.happen({ kind: "delete" });
        if (world.sight().kind !== "deleting") return;
        world.claim([], lawful);
        expect(world.object).toBe("absent");
        expect(["deleted", "retained", "orphaned"]).toContain(world.row.state);
        if (world.row.state !== "deleted" || state === "orphaned") return;
        expect([...world.outside.keys()]).toEqual([]);
        expect(world.row.dueAt).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test("a row whose object was never seen is never acted on", () => {
    fc.assert(
      fc.property(histories, (history) => {
        const world = new World(0);
        world.row = { ...world.row, confirmed: false };
        for (const event of history) {
          if (event.kind !== "work") world.happen(event);
          expect(decide(world.view(), world.now)).toEqual({ kind: "rest", why: "unconfirmed" });
          const voided = { ...world.view(), row: { ...world.row, voided: true } };
          expect(decide(voided, world.now)).toEqual({ kind: "rest", why: "voided" });
        }
      }),
      { numRuns: 100 },
    );
  });
});
