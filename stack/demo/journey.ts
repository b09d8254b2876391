/** From a push to the day's end of it, stage by stage, with the time of each since the push. */
import type { Observer, Person, Written } from "./observer.ts";
import { type Screen, seconds } from "./screen.ts";

/** A commit that was pushed. */
export interface Push {
  readonly commit: string;
  /** When git had it at the server, in milliseconds since the epoch. */
  readonly at: number;
  /** How long git needed for it. */
  readonly tookMs: number;
  /** Names of the people that it is about. */
  readonly names: readonly string[];
}

interface Moment {
  readonly at: number;
  readonly detail?: string;
}

interface Stage {
  readonly what: string;
  /** What the last line of the screen says until then. */
  readonly until: string;
  /** When this person had come so far; undefined: not yet. */
  readonly reached: (name: string) => Moment | undefined;
}

const PATIENCE_MS = 120_000;

/** Follows everyone of a commit until Ready. Gives the milliseconds from push to Ready of each. */
export async function followUp(observer: Observer, push: Push, screen: Screen): Promise<readonly number[]> {
  const person = (name: string): Person | undefined => {
    const found = observer.people.get(name);
    return found !== undefined && found.goneAt === undefined && found.seenAt >= push.at - push.tookMs
      ? found
      : undefined;
  };
  const step =
    (wanted: string) =>
    (name: string): Moment | undefined =>
      writeOf(observer, person(name), wanted, push, "first");
  await follow(observer, push, screen, [
    fetched(observer, push),
    {
      what: "recorded: admission has put the pending saga into Postgres",
      until: "Flux to apply it",
      reached: (name) => moment(person(name)?.recordedAt),
    },
    {
      what: "admitted: the TenantUser is in the cluster",
      until: "the API server",
      reached: (name) => moment(person(name)?.seenAt),
    },
    { what: "Keycloak: the user is in the tenant's realm", until: "Keycloak", reached: step("keycloak") },
    { what: "NewAPI: account and key are there", until: "NewAPI", reached: step("newapi") },
    { what: "Secret: the key is in the tenant's namespace", until: "the Secret", reached: step("secret") },
    {
      what: "Ready: the key was tried at the gateway, the status says so",
      until: "Ready",
      reached: (name) => moment(person(name)?.readyAt),
    },
    {
      what: "Flux reports the commit applied and healthy",
      until: "Flux to say so",
      reached: () => moment(observer.appliedAt(push.commit)),
    },
  ]);
  return push.names.map((name) => (person(name)?.readyAt ?? Number.NaN) - push.at);
}

/** Follows everyone whose file a commit has removed, until nothing is left. */
export async function followDown(observer: Observer, push: Push, screen: Screen): Promise<void> {
  const step =
    (wanted: string) =>
    (name: string): Moment | undefined =>
      writeOf(observer, observer.people.get(name), wanted, push, "last");
  await follow(observer, push, screen, [
    fetched(observer, push),
    {
      what: "deleted: Flux has asked for it, the finalizer holds the object",
      until: "Flux to prune it",
      reached: (name) => moment(observer.people.get(name)?.deletingAt),
    },
    { what: "Secret: removed", until: "the Secret to go", reached: step("secret") },
    { what: "NewAPI: the account is disabled, its key opens nothing", until: "NewAPI", reached: step("newapi") },
    { what: "Keycloak: the user is deleted", until: "Keycloak", reached: step("keycloak") },
    {
      what: "gone: the TenantUser is released",
      until: "the object to go",
      reached: (name) => moment(observer.people.get(name)?.goneAt),
    },
  ]);
}

const moment = (at: number | undefined): Moment | undefined => (at === undefined ? undefined : { at });

function fetched(observer: Observer, { commit }: Push): Stage {
  return {
    what: "fetched: Flux has the commit",
    until: "Flux to fetch it",
    reached: () => {
      const at = observer.fetchedAt(commit);
      return at === undefined ? undefined : { at, detail: `main@${commit.slice(0, 8)}` };
    },
  };
}

function writeOf(
  { writes }: Observer,
  person: Person | undefined,
  step: string,
  push: Push,
  which: "first" | "last",
): Moment | undefined {
  const uuid = person?.status?.userUUID;
  const ours = (write: Written): boolean =>
    write.uuid === uuid && write.step === step && write.at >= push.at - push.tookMs;
  const found = which === "first" ? writes.find(ours) : writes.findLast(ours);
  if (found === undefined) return undefined;
  return { at: found.at, ...(found.target === undefined ? {} : { detail: `${found.action} ${found.target}` }) };
}

async function follow(observer: Observer, push: Push, screen: Screen, stages: readonly Stage[]): Promise<void> {
  const { names } = push;
  const [one] = names.length === 1 ? names : [];
  const count = ({ reached }: Stage): number => names.filter((name) => reached(name) !== undefined).length;
  screen.stage(0, "pushed: Gitea has the commit", `git push took ${seconds(push.tookMs)}`);
  let told = 0;
  await observer.until(
    () => stages.every((stage) => count(stage) === names.length),
    () => {
      if (one !== undefined) told = tell(stages, told, one, push, screen);
      const next = stages.find((stage) => count(stage) < names.length);
      if (next === undefined) return screen.clear();
      const tally = one === undefined ? ` (${count(next)} of ${names.length})` : "";
      screen.waiting(`${seconds(Date.now() - push.at).padStart(8)}  waiting for ${next.until}${tally}`);
    },
    PATIENCE_MS,
    () => stuckAt(observer, push, stages),
  );
  if (one === undefined) table(push, screen, stages);
}

/** Shows the stages that have been reached since the last look, in their order. Gives how many were shown by now. */
function tell(stages: readonly Stage[], told: number, name: string, push: Push, screen: Screen): number {
  const stage = stages[told];
  const seen = stage?.reached(name);
  if (stage === undefined || seen === undefined) return told;
  screen.stage(Math.max(0, seen.at - push.at), stage.what, seen.detail);
  return tell(stages, told + 1, name, push, screen);
}

function table({ names, at }: Push, screen: Screen, stages: readonly Stage[]): void {
  screen.line(`       min   median      max`);
  for (const { what, reached } of stages) {
    const times = names.map((name) => Math.max(0, (reached(name)?.at ?? Number.NaN) - at));
    const { min, median, max } = spread(times);
    screen.line(`  ${[min, median, max].map((ms) => seconds(ms).padStart(8)).join(" ")}  ${what}`);
  }
}

export function spread(times: readonly number[]): { min: number; median: number; max: number } {
  const sorted = times.toSorted((a, b) => a - b);
  const nth = (index: number): number => sorted[index] ?? Number.NaN;
  const middle = sorted.length / 2;
  const median = sorted.length % 2 === 1 ? nth(Math.floor(middle)) : (nth(middle - 1) + nth(middle)) / 2;
  return { min: nth(0), median, max: nth(sorted.length - 1) };
}

function stuckAt(observer: Observer, push: Push, stages: readonly Stage[]): string {
  const stage = stages.find(({ reached }) => push.names.some((name) => reached(name) === undefined));
  const name = push.names.find((each) => stage?.reached(each) === undefined) ?? "";
  const conditions = observer.people.get(name)?.status?.conditions ?? [];
  return [
    `After ${PATIENCE_MS / 1000} s this was still waiting for ${stage?.until ?? "nothing"} (${name}).`,
    ...conditions.map(({ type, status, reason, message }) => `  ${type}=${status} ${reason}: ${message}`),
    "Flux says:",
    ...observer
      .fluxSays()
      .split("\n")
      .map((line) => `  ${line}`),
  ].join("\n");
}
