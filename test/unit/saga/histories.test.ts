/** The loop decide -> outcome -> advance over random histories of a person, their Tenant and the upstreams. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FINALIZER } from "../../../src/api/meta.ts";
import { ConflictError, TerminalError, TransientError, WaitingError } from "../../../src/lib/errors.ts";
import { afterDown, afterUp, beforeUp } from "../../../src/saga/advance.ts";
import { FAILED_AFTER } from "../../../src/lib/backoff.ts";
import { type Action, decide, fingerprint, type Observation, type DecisionInput } from "../../../src/saga/decide.ts";
import { purging } from "../../../src/saga/ending.ts";
import { type ActionOutcome, conclude, endingPatch, failed } from "../../../src/saga/outcome.ts";
import type { RowPatch, SagaRow, StepName } from "../../../src/saga/row.ts";
import { patched, STEPS } from "../../../src/saga/row.ts";
import {
  bound,
  handedOver,
  holds,
  orphanedElsewhere,
  rechecked,
  renamed,
  runAfterFinish,
  seenDeleted,
  undoneAgain,
} from "../../../src/saga/transitions.ts";
import {
  ABSENT,
  CLUSTER,
  NOW,
  sagaRow,
  observationOf,
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
  | { readonly kind: "request" | "rotate" | "delete" | "lose" | "touch" }
  /** Nobody held the object, and the watch saw it go. */
  | { readonly kind: "vanish" }
  /** Something was changed outside: at a step, or, with a version, the Secret was written. */
  | { readonly kind: "drift"; readonly step: StepName; readonly version?: string }
  /** An object asks for the row: of the same person, or, with a pin, of another. */
  | { readonly kind: "come"; readonly who: "same" | "other" }
  /** The account of one who is new carries another uuid. */
  | { readonly kind: "take-over" }
  /** The cluster is lost, and another one has none of its objects yet. Who is due may be claimed before its list comes. */
  | { readonly kind: "rebuild"; readonly isListed: boolean }
  /** A worker that had lost the row has written something outside. */
  | { readonly kind: "late" }
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
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom("request" as const, "rotate", "touch") }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("delete" as const, "lose", "vanish") }) },
  {
    weight: 2,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constant("drift" as const), step: fc.constantFrom(...STEPS) }),
      fc.record({
        kind: fc.constant("drift" as const),
        step: fc.constant("secret" as const),
        version: fc.constantFrom("7", "8"),
      }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant("come" as const), who: fc.constantFrom("same" as const, "other") }),
  },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({ kind: fc.constantFrom("take-over" as const, "late") }),
      fc.record({ kind: fc.constant("rebuild" as const), isListed: fc.boolean() }),
    ),
  },
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

const SUCCESSOR = { uid: "0b000000-0000-4000-8000-000000000100", namespace: "tenant-a", name: "next", createdAt: NOW };

/** One person's world: the row, the object, the Tenant, and what there is outside. */
class World {
  row: SagaRow = sagaRow({ dueAt: NOW });
  now = NOW;
  /** What lives at each upstream, by its id. */
  readonly outside = new Map<StepName, string>();
  #made = 0;
  /** What was changed outside, and the row was told of. */
  readonly drifted = new Set<StepName>();
  /** What another person's credentials still open. */
  readonly open = new Set<StepName>();
  readonly disabled = new Set<StepName>();
  #user: UserBuilder = tenantUser();
  #email = "ada@example.com";
  #generation = 1;
  #marks = 0;
  #tenant = { revision: 1, there: true, ready: true, suspend: false };
  #object: "present" | "deleting" | "absent" = "present";
  #finalizer = false;
  #deletedAt = NOW;
  #came = 0;
  #clusters = 0;
  /** Somebody waits until the row is free. */
  #candidate: "same" | "other" | undefined;
  #observation: Observation | undefined;
  readonly grace: number;

  constructor(grace: number) {
    this.grace = grace;
  }

  get object() {
    return this.#object;
  }

  get waits() {
    return this.#candidate !== undefined;
  }

  get cluster() {
    return this.#clusters === 0 ? CLUSTER : `${CLUSTER.slice(0, -2)}${10 + this.#clusters}`;
  }

  observation(): Observation {
    this.#observation ??= this.#look();
    return this.#observation;
  }

  #look(): Observation {
    if (this.#object === "absent") return ABSENT;
    const user = this.#finalizer ? this.#user : this.#user.withoutFinalizer();
    const live = this.#object === "deleting" ? user.deleting(this.#deletedAt) : user;
    return observationOf(
      live.withGeneration(this.#generation).build(),
      tenant({ suspend: this.#tenant.suspend, allow: { retain: true } }),
    );
  }

  input(): DecisionInput {
    const { revision, there, ready } = this.#tenant;
    return {
      row: this.row,
      observation: this.observation(),
      tenant: there ? tenantView({ revision: `r${revision}`, ready, deletionGraceMs: this.grace * 1000 }) : undefined,
      crd: "present",
      clusterID: this.cluster,
      // Whoever wants the row by its uuid waits for no address.
      successor: this.#candidate === "same" ? SUCCESSOR : undefined,
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
    this.#observation = undefined;
    if (this.row.state !== "orphaned" && !this.row.voided) this.#put({ dueAt: this.now, backoffUntil: null });
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
      case "vanish":
        if (this.#object !== "present" || this.#finalizer) return;
        this.#object = "absent";
        this.#observation = undefined;
        if (!this.row.confirmed || this.row.deleting !== undefined) return;
        if (!["deleted", "retained", "orphaned"].includes(this.row.state)) {
          this.#put(seenDeleted(this.row, { graceMs: this.grace * 1000, withheldMs: undefined }, this.now));
        }
        return this.#admit();
      case "drift":
        if (event.version !== undefined && event.version === this.row.secretVersion) return;
        return this.#recheck(event.step, event.version);
      case "come":
        this.#candidate ??= event.who;
        return this.#admit();
      case "take-over":
        if (!holds(this.row) || this.row.deleting !== undefined || this.row.keycloakUserID !== undefined) return;
        return this.#put(renamed(`0c000000-0000-4000-8000-0000000001${10 + (this.#came += 1)}`, this.now));
      case "rebuild":
        this.#clusters += 1;
        this.#object = "absent";
        this.#finalizer = false;
        this.#observation = undefined;
        if (event.isListed || this.row.dueAt === undefined) this.#orphanElsewhere();
        return this.#admit();
      case "late":
        if (this.row.state !== "deleted") return this.#recheck("keycloak", undefined);
        this.#ensure("keycloak");
        return this.#put(undoneAgain(this.row, this.now));
      case "tenant":
        return this.#changeTenant(event.what);
      case "later":
        this.now = new Date(this.now.getTime() + event.seconds * 1000);
        return;
      default:
        event satisfies never;
    }
  }

  #orphanElsewhere(): void {
    const { confirmed, voided, state } = this.row;
    if (confirmed && !voided && !ENDED.includes(state)) this.#put(orphanedElsewhere());
  }

  #recheck(step: StepName, version: string | undefined): void {
    const patch = rechecked(this.row, step, version, this.now);
    if (patch === undefined) return;
    this.drifted.add(step);
    this.#put(patch);
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

  /** One action of one claim, as the engine carries it out. True: the claim continues. */
  perform(action: Action, how: Outcome): boolean {
    const { row, now } = this;
    switch (action.kind) {
      case "idle":
      case "sleep":
      case "wait":
      case "suspend":
      case "await-deletion":
      case "begin-down":
      case "retain":
      case "deleted":
        return this.#take(conclude(action, this.input(), now));
      case "refuse":
        return this.#fail(
          "admission",
          new TerminalError({ code: action.refusal.reason, message: action.refusal.message }),
        );
      case "move-email":
        throw new Error(`not of this world: ${action.kind}`);
      case "hand-over":
        this.#release();
        this.#put(handedOver(row, this.#comes("same"), now));
        law(row.uuid === this.row.uuid && this.row.deleting === undefined, "handed over another saga, or half of it");
        return false;
      case "add-finalizer":
        this.#finalizer = true;
        this.#observation = undefined;
        return true;
      case "up":
        return this.#up(action, how);
      case "finish": {
        const outcome = conclude(action, this.input(), now);
        // As it is recorded.
        const following = runAfterFinish(row, action.run.generation);
        const next = following === undefined ? outcome.next : { dueAt: now };
        return this.#take({ patch: { ...outcome.patch, run: following ?? null, recheck: null }, next });
      }
      case "down":
        return this.#down(action, how);
      case "invite":
        this.#put({ invitedKeycloakUserID: row.keycloakUserID ?? null, refusedInvitation: null });
        return true;
      case "orphan":
      case "release": {
        const outcome = conclude(action, this.input(), now);
        if (action.kind === "release" || action.release) this.#release();
        return this.#take(outcome);
      }
      default:
        return action satisfies never;
    }
  }

  /** Whoever waits gets the row when nobody holds it any more. */
  #admit(): void {
    const who = this.#candidate;
    if (who === undefined || this.#object !== "absent" || holds(this.row)) return;
    const { row, now } = this;
    const { tenantID } = row;
    const hadPast = row.confirmed && !row.voided;
    const isPurged = row.state === "deleted" || row.deleting?.undone.includes("keycloak") === true;
    const object = this.#comes(who);
    const email = this.#email;
    this.#put(bound(row, { ...object, tenantID, email, clusterID: this.cluster }, now));
    law(this.row.uuid === row.uuid && this.row.email === email, "bound to another person");
    law(this.keeps(row), "a recorded id was lost when the row was bound");
    law(this.row.run !== undefined || !hadPast, "who was here before is taken for new");
    const resets = hadPast && !isPurged && row.email !== email;
    law(!resets || this.row.toReset?.length === 2, "another person's accounts are used as they are");
    if (row.email !== email)
      for (const step of ["keycloak", "newapi"] as const) if (this.outside.has(step)) this.open.add(step);
  }

  /** The object of somebody who comes. */
  #comes(who: "same" | "other") {
    this.#came += 1;
    this.#candidate = undefined;
    if (who === "other") this.#email = `p${this.#came}@example.com`;
    const uid = `0b000000-0000-4000-8000-0000000001${10 + this.#came}`;
    const name = `p${this.#came}`;
    this.#user = tenantUser().named(name).withUID(uid).withSpec({ email: this.#email });
    this.#generation = 1;
    this.#object = "present";
    this.#finalizer = false;
    this.#observation = undefined;
    return { uid, namespace: "tenant-a", name, createdAt: this.now };
  }

  #release(): void {
    this.#finalizer = false;
    if (this.#object === "deleting") this.#object = "absent";
    this.#observation = undefined;
  }

  #up(action: Extract<Action, { kind: "up" }>, how: Outcome): boolean {
    const observation = this.observation();
    if (observation.kind !== "present") throw new Error("went up without an object");
    const intent = beforeUp(this.row, observation.desired, action.run, this.now);
    if (intent !== undefined) this.#put(intent);
    if (how === "success" || how === "lost") {
      this.#ensure(action.step);
      this.disabled.delete(action.step);
    }
    if (how === "lost") return false;
    if (how === "gone" && action.step === "secret") this.#remove("newapi");
    if (how === "success") {
      if (action.step === "keycloak" && this.row.toReset?.includes("keycloak") === true) this.open.delete("keycloak");
      if (action.step === "secret" && this.row.rotation !== undefined) this.open.delete("newapi");
      const id = this.outside.get(action.step) ?? "";
      const learned: RowPatch =
        action.step === "keycloak"
          ? { keycloakUserID: id, ...withoutReset(this.row, "keycloak") }
          : action.step === "newapi"
            ? { newapiUserID: id }
            : { secretNamespace: "tenant-a", secretName: "s", secretUID: id, secretVersion: "7" };
      this.#put(afterUp(this.row, action.run, { learned, key: action.step === "secret" ? "works" : undefined }).patch);
      return true;
    }
    return this.#fail(action.step, failure(how));
  }

  /** As the steps do it: found by the recorded id or by the marks, made only where nothing is found. */
  #ensure(step: StepName): void {
    if (!this.outside.has(step)) this.outside.set(step, `${step}-${(this.#made += 1)}`);
    this.drifted.delete(step);
  }

  #remove(step: StepName): void {
    this.outside.delete(step);
    this.open.delete(step);
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
      if (action.how === "remove" || action.step === "secret") this.#remove(action.step);
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
    return this.#take(failed(this.input(), step, error, this.now, () => 0.5));
  }

  /** As the claim records it. */
  #take({ patch, next }: Pick<ActionOutcome, "patch" | "next">): boolean {
    if (typeof next === "string") this.#put(patch);
    else this.#put({ ...endingPatch(this.input(), patch), dueAt: next.dueAt });
    return next === "continue";
  }

  /** One claim, checked at every action. */
  claim(outcomes: readonly Outcome[], check: (world: World, action: Action) => void): void {
    this.#observation = undefined;
    const left = [...outcomes];
    for (let turn = 0; ; turn += 1) {
      law(turn < 30, "a claim must end");
      const action = decide(this.input(), this.now);
      check(this, action);
      const known = this.row;
      const before = this.#everything();
      const goesOn = this.perform(
        action,
        action.kind === "up" || action.kind === "down" ? (left.shift() ?? "success") : "success",
      );
      law(this.keeps(known), "a recorded id was lost, or replaced by another, while it lived");
      if (!goesOn) return this.#admit();
      law(this.#everything() !== before, `${action.kind} changed nothing and would be done for ever`);
    }
  }

  #everything(): string {
    return JSON.stringify([this.row, this.#object, this.#finalizer]);
  }

  /** Whoever lives on without an object continues a person's word. False: nobody does. */
  purge(): boolean {
    const order = { by: "grace@ops", reason: "left the company" };
    const place = { clusterID: this.cluster, otherCluster: true };
    const ending = purging(this.row, place, order, this.now);
    if (ending.kind === "ends") this.#put(ending.patch);
    return ending.kind === "ends";
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
      return new TransientError({ code: "UpstreamUnavailable", message });
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
  "hand-over",
  "retain",
  "deleted",
  "release",
  "await-deletion",
  "orphan",
  "sleep",
  "wait",
  "idle",
]);

/** What changes something outside on the way up. */
const OUTWARD = new Set<Action["kind"]>(["up", "add-finalizer", "move-email", "finish"]);

/** What holds at every action of every history. */
function lawful(world: World, action: Action): void {
  const { row } = world;
  const observation = world.observation();
  law(observation.kind !== "deleting" || DOWNWARD.has(action.kind), `${action.kind} although it is being deleted`);
  law(action.kind !== "deleted" || world.outside.size === 0, "called deleted with something left");
  const ended = row.state === "deleted" || row.state === "retained";
  law(!ended || ["idle", "release", "deleted", "retain"].includes(action.kind), `${action.kind} on an ended saga`);
  if (OUTWARD.has(action.kind)) {
    if (observation.kind !== "present") throw new Error(`${action.kind} without a living object`);
    const { desired, refusal } = observation;
    law(row.confirmed && !row.voided, "outside action on an unconfirmed saga");
    law(row.deleting === undefined, "outside action upwards while going down");
    law(!desired.suspend, "outside action on a suspended saga");
    law(refusal === undefined, "outside action on a refused saga");
    law(row.blockedOn !== fingerprint(desired, world.input().tenant), "outside action on a terminal saga");
    law(row.backoffUntil === undefined || row.backoffUntil <= world.now, "outside action within a pause");
  }
  if (action.kind === "up") {
    if (observation.kind !== "present") throw new Error("went up without a living object");
    const { object } = observation;
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

const ENDED: readonly string[] = ["deleted", "retained", "orphaned"];

function withoutReset({ toReset }: SagaRow, account: "keycloak" | "newapi"): RowPatch {
  const left = (toReset ?? []).filter((each) => each !== account);
  return { toReset: left.length === 0 ? null : left };
}

function law(isKept: boolean, broken: string): void {
  if (!isKept) throw new Error(broken);
}

/**
 * What a history has come to, whether its failures have stopped or not: a row that rests has nothing that a claim would
 * do, and one that has failed says so and is due again, or names what a person has to change.
 */
function standing(world: World): "done" | "retrying" | "terminal" | "held" | "gone" {
  const { row, now } = world;
  const observation = world.observation();
  if (row.dueAt !== undefined) {
    law(row.retryCount < FAILED_AFTER || row.deleting !== undefined || row.state === "failed", "hides that it failed");
    return "retrying";
  }
  const action = decide(world.input(), now);
  if (action.kind === "suspend") return "held";
  if (action.kind === "wait") {
    law(action.until === undefined, "waits for a moment, and is not due then");
    return "held";
  }
  if (action.kind !== "idle") throw new Error(`rests although there is to ${action.kind}`);
  if (action.why === "done") {
    law(action.until === undefined, "rests although a moment will come");
    return "done";
  }
  if (action.why === "blocked") {
    law(row.state === "failed" && row.lastError?.class === "terminal", "stalled without a word");
    return "terminal";
  }
  law(observation.kind !== "deleting", "rests with its object held");
  if (row.voided) law(world.outside.size === 0, "void, with something made outside");
  else law(ENDED.includes(row.state), `rests as ${row.state}, with work in flight`);
  return "gone";
}

/** How it may end when nothing fails any more. */
function ended(world: World): void {
  const { row, object } = world;
  const observation = world.observation();
  law(object !== "deleting", "an object hangs for ever");
  if (observation.kind !== "present") {
    if (row.voided) law(world.outside.size === 0, "void, with something made outside");
    else law(ENDED.includes(row.state), `gone, and its row is ${row.state}`);
    law(row.state !== "deleted" || world.outside.size === 0, "deleted, with something left outside");
    law(!world.waits, "somebody waits for a row that nobody holds");
    law(row.state !== "deleted" || (row.objectUID ?? row.deleting) === undefined, "deleted, and still held");
    return;
  }
  const { desired } = observation;
  if (row.state === "orphaned" || row.voided || desired.suspend) return;
  const known = world.input().tenant;
  if (observation.refusal !== undefined || row.blockedOn === fingerprint(desired, known)) {
    law(row.state === "failed" && row.lastError?.class === "terminal", "waits for a person and does not say so");
    return;
  }
  const { handled } = row;
  law(row.state === "done" && row.reached === "done" && row.retryCount === 0, `rests as ${row.state}`);
  law(row.run === undefined && row.rotation === undefined, "rests with work in flight");
  law(handled?.generation === desired.generation, "rests without the newest spec");
  law(handled?.tenantRevision === known?.revision, "rests without the newest Tenant");
  law(handled?.requestedAt === desired.requestedAt, "rests with a request open");
  law(handled?.rotateRequestedAt === desired.rotateRequestedAt, "rests with a rotation asked for");
  law(row.keyGeneration >= desired.keyGeneration, "rests with a key generation to come");
  law(row.toReset === undefined, "rests with something of another person left");
  law(row.recheck === undefined && world.drifted.size === 0, "rests with something to recheck");
  law(world.open.size === 0, "rests with accounts that another person's credentials open");
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
          if (!world.purge()) return;
          world.settle(lawful);
          expect([world.row.state, world.outside.size]).toEqual(["deleted", 0]);
        }),
        { numRuns: 1500 },
      );
    },
  );

  test(
    "an object that is deleted never hangs: it is released within ten minutes, however the upstreams fail",
    { timeout: 60_000 },
    () => {
      const failing = fc.constantFrom<Outcome>("transient", "terminal", "waiting", "gone");
      fc.assert(
        fc.property(histories, fc.constantFrom(0, 3600), fc.infiniteStream(failing), (history, grace, failures) => {
          const world = live([...history, { kind: "delete" }], grace);
          if (world.object !== "deleting") return;
          const began = world.now.getTime();
          for (let claims = 0; world.object === "deleting"; claims += 1) {
            law(claims < FAR, "it is never released");
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
    "however long its upstreams fail, a history is done, tried again, waiting for a person, held or gone",
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

  test("a deletion wins over everything: one claim undoes it all, whatever was in flight or in the way", () => {
    fc.assert(
      fc.property(histories, (history) => {
        const world = live(history, 0);
        if (world.object !== "present" || world.waits) return;
        const { state } = world.row;
        world.happen({ kind: "delete" });
        if (world.observation().kind !== "deleting") return;
        world.claim([], lawful);
        expect(world.object).toBe("absent");
        expect(["deleted", "retained", "orphaned", "void"]).toContain(world.row.voided ? "void" : world.row.state);
        if (world.row.state !== "deleted" || state === "orphaned") return;
        expect([...world.outside.keys()]).toEqual([]);
        expect(world.row.dueAt).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test("what a late worker makes of somebody who is gone is undone again, and of one who is done is looked at", () => {
    let undone = 0;
    fc.assert(
      fc.property(histories, fc.boolean(), (history, isGoing) => {
        const world = live(history, 0);
        if (isGoing) world.happen({ kind: "delete" });
        world.settle(lawful);
        if (world.row.state === "deleted") undone += 1;
        world.happen({ kind: "late" });
        standing(world);
        while (world.row.dueAt !== undefined && world.row.dueAt <= world.now) world.claim([], lawful);
        expect(() => ended(world)).not.toThrow();
      }),
      { numRuns: 300 },
    );
    expect(undone).toBeGreaterThan(20);
  });

  test("a row whose object was never seen is never acted on", () => {
    fc.assert(
      fc.property(histories, (history) => {
        const world = new World(0);
        world.row = { ...world.row, confirmed: false };
        for (const event of history) {
          // Nobody has the row yet, so that nothing is bound to it.
          if (event.kind !== "work" && event.kind !== "come") world.happen(event);
          expect(decide(world.input(), world.now)).toEqual({ kind: "idle", why: "unconfirmed" });
          const voided = { ...world.input(), row: { ...world.row, voided: true } };
          expect(decide(voided, world.now)).toEqual({ kind: "idle", why: "voided" });
        }
      }),
      { numRuns: 100 },
    );
  });
});
