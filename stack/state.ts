import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

import { readIfThere, writeAtomically } from "./files.ts";
import { isAlive, type Identity } from "./identity.ts";
import type { Obtained } from "./obtain/index.ts";
import { chooseSlot } from "./node/addresses.ts";
import { choosePorts, type Ports } from "./ports.ts";
import { makeOpenDirectory, unprivilegedUser } from "./unprivileged.ts";

/** What a stack remembers between commands: enough to find it, stop it and start it again. */
export interface State {
  readonly ports: Ports;
  readonly secrets: Secrets;
  /** Where the parts that may not run as root keep their data; inside the stack's own folder when nobody is root. */
  readonly openDir: string;
  readonly obtained: Obtained;
  /** Set for a stack that runs Pods. */
  readonly node?: { readonly slot: number };
}

export interface Secrets {
  readonly gitea: string;
  readonly giteaInternal: string;
  readonly giteaJwt: string;
  readonly keycloak: string;
  readonly postgres: string;
  readonly newapi: string;
}

const stateFile = (dir: string): string => join(dir, "state.json");

const secret = (): string => randomBytes(24).toString("hex");

function newSecrets(): Secrets {
  return {
    gitea: secret(),
    giteaInternal: secret(),
    giteaJwt: randomBytes(32).toString("base64url"),
    keycloak: secret(),
    postgres: secret(),
    newapi: secret(),
  };
}

export function readState(dir: string): Partial<State> {
  return JSON.parse(readIfThere(stateFile(dir)) ?? "{}") as Partial<State>;
}

/** Called with no part running: ports that someone took meanwhile are replaced. With `node`, the stack gets a node's addresses. */
export async function prepareState(dir: string, running: boolean, obtained: Obtained, node: boolean): Promise<State> {
  for (const folder of ["", "data", "logs", "run"]) mkdirSync(join(dir, folder), { recursive: true, mode: 0o755 });
  const known = readState(dir);
  const others = statesOfOthers(dir);
  const state: State = {
    ports: running && known.ports ? known.ports : await choosePorts(known.ports ?? {}, portsOf(others)),
    secrets: known.secrets ?? newSecrets(),
    openDir: known.openDir && existsSync(known.openDir) ? known.openDir : openDir(dir),
    obtained,
    ...(node && {
      node: known.node ?? { slot: chooseSlot(new Set(others.flatMap((other) => other.node?.slot ?? []))) },
    }),
  };
  writeAtomically(stateFile(dir), JSON.stringify(state, null, 2), 0o600);
  return state;
}

const statesOfOthers = (dir: string): Partial<State>[] =>
  readdirSync(dirname(dir))
    .map((name) => join(dirname(dir), name))
    .filter((other) => other !== dir)
    .map(readState);

/** A stack that is down right now keeps its ports too. */
const portsOf = (others: readonly Partial<State>[]): Set<number> =>
  new Set(others.flatMap(({ ports }) => Object.values(ports ?? {})));

function openDir(dir: string): string {
  if (unprivilegedUser()) return makeOpenDirectory();
  const own = join(dir, "data", "own");
  mkdirSync(own, { recursive: true });
  return own;
}

/** Forgets data and passwords; keeps the logs, to be read, and the ports, so that bookmarks stay right. */
export function wipe(dir: string): void {
  const { ports, openDir: open } = readState(dir);
  if (open) rmSync(open, { recursive: true, force: true });
  for (const entry of ["data", "run", "env", "kubeconfig"]) rmSync(join(dir, entry), { recursive: true, force: true });
  if (ports) writeAtomically(stateFile(dir), JSON.stringify({ ports }, null, 2), 0o600);
}

const runFile = (dir: string, part: string): string => join(dir, "run", `${part}.json`);

/** One file a part: tests may stop and start several at once. */
export function recordProcess(dir: string, part: string, identity: Identity): void {
  writeAtomically(runFile(dir, part), JSON.stringify(identity));
}

export function recordedProcess(dir: string, part: string): Identity | undefined {
  const text = readIfThere(runFile(dir, part));
  return text === undefined ? undefined : (JSON.parse(text) as Identity);
}

export function forgetProcess(dir: string, part: string): void {
  rmSync(runFile(dir, part), { force: true });
}

export function runningProcess(dir: string, part: string): Identity | undefined {
  const recorded = recordedProcess(dir, part);
  return recorded && isAlive(recorded) ? recorded : undefined;
}
