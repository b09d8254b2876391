/** One person at a glance, and the journey as a timeline. Pure. */
import type { SagaView } from "../api/operator.ts";
import { CONDITION } from "../api/reasons.ts";
import { type Moment, nextMoments } from "./journey.ts";
import { conditionOf, type UserView, type UserPhase, type UserHealth, healthOf } from "./userView.ts";
import { fromNow, moment, type Paint, printable, type Tone, wrapped } from "./text.ts";
import { shell } from "../lib/shell.ts";

export const TONE: Readonly<Record<UserPhase, Tone>> = {
  ready: "good",
  underway: "busy",
  stalled: "bad",
  suspended: "busy",
  leaving: "busy",
  unseen: "busy",
};

const KIND: Readonly<Record<Moment["kind"], { readonly mark: string; readonly tone: Tone }>> = {
  did: { mark: "+", tone: "plain" },
  failed: { mark: "!", tone: "bad" },
  said: { mark: "*", tone: "strong" },
  next: { mark: ">", tone: "busy" },
};

const STEPS = [
  ["Keycloak", CONDITION.KeycloakReady],
  ["Gateway", CONDITION.NewAPIReady],
  ["Secret", CONDITION.SecretReady],
] as const;

export interface Glance {
  readonly person: UserView;
  /** Undefined: the state store was not asked. */
  readonly saga: SagaView | undefined;
  readonly journey: readonly Moment[];
  /** Why the state store was not asked. */
  readonly withoutStore: string | undefined;
}

const LABEL = 10;
const COLUMNS = 110;

export function statusText({ person, saga, journey, withoutStore }: Glance, now: Date, paint: Paint): string {
  const { name, namespace } = person.metadata;
  const found = healthOf(person);
  const lines: string[] = [];
  const line = (label: string, text: string, tone: Tone = "plain"): void => {
    const body = wrapped(printable(text), COLUMNS - LABEL, " ".repeat(LABEL));
    lines.push(paint("faint", label.padEnd(LABEL)) + paint(tone, body));
  };
  lines.push(paint("strong", `${name}  ${printable(person.spec.email)}  in ${namespace}`));
  line("Phase", phaseText(found, now), TONE[found.phase]);
  line("", found.message);
  line("State", `${person.status?.state ?? "none yet"}, uuid ${person.status?.userUUID ?? "not chosen yet"}`);
  for (const [label, type] of STEPS) {
    const condition = conditionOf(person, type);
    if (condition === undefined) continue;
    const tone: Tone = condition.status === "True" ? "good" : condition.status === "False" ? "bad" : "faint";
    line(label, `${condition.reason}: ${condition.message}${idOf(label, person)}`, tone);
  }
  lines.push("", paint("faint", "Journey (UTC)"));
  for (const { at, kind, what, text } of journey) {
    const { mark, tone } = KIND[kind];
    const body = wrapped(text, COLUMNS - 40, " ".repeat(40));
    lines.push(`  ${stamp(at)}  ${paint(tone, `${mark} ${what.padEnd(14)}`)} ${body}`.trimEnd());
  }
  lines.push("");
  line("Next", nextText(person, saga, found, now), found.phase === "stalled" ? "bad" : "plain");
  if (withoutStore !== undefined) line("Note", withoutStore, "faint");
  return lines.map((each) => `${each}\n`).join("");
}

/** With milliseconds where they are known: the steps of one run are less than a second apart. */
function stamp(at: string): string {
  const time = new Date(at);
  if (Number.isNaN(time.getTime())) return printable(at).padEnd(19).slice(0, 19);
  return time.toISOString().slice(0, 19).replace("T", " ");
}

function phaseText({ phase, reason, since, behind }: UserHealth, now: Date): string {
  const when = since === undefined ? "" : ` since ${moment(since)} (${fromNow(since, now)})`;
  const older = behind ? "; this is about an older version of the file" : "";
  return `${reason}, ${phase}${when}${older}`;
}

function idOf(label: string, { status }: UserView): string {
  const id = { Keycloak: status?.keycloak?.userID, Gateway: status?.newapi?.userID, Secret: status?.secretName }[label];
  return id === undefined ? "" : ` ${id}`;
}

/** What happens next, as one sentence. */
export function nextText(person: UserView, saga: SagaView | undefined, found: UserHealth, now: Date): string {
  const [next] = nextMoments(person, saga, now);
  const timed = next === undefined ? undefined : `${next.what}: ${next.text}, ${fromNow(next.at, now)}.`;
  const { name, namespace } = person.metadata;
  const ask = shell`kubectl tenantuser why ${name} -n ${namespace}`;
  switch (found.phase) {
    case "ready":
      if (found.behind) return "The reconciler is about to apply the newer version of the file.";
      return timed ?? "Nothing. The reconciler checks again when the file, the Tenant or an upstream changes.";
    case "underway":
      return timed ?? `It continues automatically when what it waits for is there: ${ask}`;
    case "stalled":
      return `Nothing until the file, the Tenant or its credential changes, or somebody runs retry: ${ask}`;
    case "suspended":
      return "Nothing until suspend ends; a deletion still runs.";
    case "leaving":
      return (
        timed ??
        "The reconciler removes the accounts, then releases the object; after 10 minutes it releases it in any case."
      );
    case "unseen":
      return `The reconciler observes it within a minute; otherwise check that one runs: ${ask}`;
    default:
      return found.phase satisfies never;
  }
}

/** The part of status of somebody who has no object any more. */
export function goneText(saga: SagaView, journey: readonly Moment[], paint: Paint): string {
  const lines = [
    paint("strong", `${saga.name ?? "?"}  ${printable(saga.email)}  in ${saga.namespace ?? "?"}, without an object`),
    paint("faint", "State".padEnd(LABEL)) + printable(`${saga.state}, uuid ${saga.uuid}`),
    "",
    paint("faint", "Journey (UTC)"),
    ...journey.map(({ at, kind, what, text }) => {
      const { mark, tone } = KIND[kind];
      return `  ${stamp(at)}  ${paint(tone, `${mark} ${what.padEnd(14)}`)} ${text}`.trimEnd();
    }),
  ];
  return lines.map((each) => `${each}\n`).join("");
}
