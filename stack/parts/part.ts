import { cpSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

import type { StackEnv } from "../env.ts";
import { addressesOf, type NodeAddresses } from "../node/addresses.ts";
import type { Command } from "../process.ts";
import type { State } from "../state.ts";
import { reachableByAll, type User } from "../unprivileged.ts";

export const partNames = [
  "etcd",
  "apiserver",
  "controller-manager",
  "source-controller",
  "kustomize-controller",
  "gitea",
  "keycloak",
  "postgres",
  "nats",
  "newapi",
  "scheduler",
  "node",
] as const;
export type PartName = (typeof partNames)[number];

export interface Context extends State {
  readonly name: string;
  readonly dir: string;
  readonly env: StackEnv;
  /** Set when we are root: who runs what refuses to run as root. */
  readonly user: User | undefined;
}

/** One program of the stack. Every function may run again on a part that was there before. */
export interface Part {
  readonly name: PartName;
  readonly title: string;
  /** Parts that have to be ready before this one starts. */
  readonly needs: readonly PartName[];
  /** False when this checkout does not have the part. */
  readonly present?: () => boolean;
  /** True: only a stack with a node has it. */
  readonly ofNode?: boolean;
  readonly prepare?: (context: Context) => Promise<void>;
  readonly command: (context: Context) => Command;
  readonly ready: (context: Context) => Promise<boolean>;
  /** What a platform's operator would set up once the part answers. */
  readonly settle?: (context: Context) => Promise<void>;
  /** Removes what it has outside of its processes and folders, once no process of it is left. */
  readonly clean?: (dir: string) => Promise<void>;
}

/** Undefined: the stack has no node. */
export const nodeOf = ({ node }: Pick<State, "node">): NodeAddresses | undefined => node && addressesOf(node.slot);

export function program(context: Context, name: string): string {
  const file = context.obtained.programs[name];
  if (file === undefined) throw new Error(`no program ${name} was obtained`);
  return file;
}

/** The part's own folder, made if need be. */
export function dataDir(context: Context, part: PartName): string {
  const path = join(context.dir, "data", part);
  mkdirSync(path, { recursive: true });
  return path;
}

/** A path that the unprivileged user can read: the given one, or a copy when it lies in a closed directory such as /root. */
export function readableCopy(context: Context, path: string, label: string): string {
  if (!context.user || reachableByAll(path)) return path;
  const copy = join(context.openDir, label);
  if (existsSync(copy)) return copy;
  const draft = `${copy}.draft`;
  rmSync(draft, { recursive: true, force: true });
  cpSync(path, draft, { recursive: true, verbatimSymlinks: true });
  renameSync(draft, copy);
  return copy;
}
