/** Commands that write to the object, where Git does not: retry, rotate, suspend, resume. */
import { EXIT, type Exit, failure } from "../exit.ts";
import { type Field, plan, type Wish } from "../ownership.ts";
import { type UserView, healthOf } from "../userView.ts";
import type { CommandSession } from "../session.ts";
import { acknowledged, nobody, stalled, until } from "./show.ts";

export interface RequestOptions {
  readonly wait?: boolean;
  readonly timeout: string;
}

export function retry(session: CommandSession, name: string, options: RequestOptions): Promise<Exit> {
  return request(session, name, "requestedAt", "is checked now, and what failed is retried", options);
}

export function rotate(session: CommandSession, name: string, options: RequestOptions): Promise<Exit> {
  return request(session, name, "rotateRequestedAt", "gets a new key", options);
}

export function suspend(session: CommandSession, name: string): Promise<Exit> {
  return change(session, name, { field: "suspend", value: true }, "is suspended").then(({ exit }) => exit);
}

export function resume(session: CommandSession, name: string): Promise<Exit> {
  return change(session, name, { field: "suspend", value: false }, "is not suspended").then(({ exit }) => exit);
}

async function request(
  session: CommandSession,
  name: string,
  field: Exclude<Field, "suspend">,
  said: string,
  { wait = false, timeout }: RequestOptions,
): Promise<Exit> {
  const asked = session.now();
  const value = asked.toISOString();
  const { exit, person } = await change(session, name, { field, value }, said);
  if (!wait || exit !== EXIT.done) return exit;
  const cluster = await session.cluster();
  const { namespace } = person.metadata;
  await until(session, timeout, async () => {
    const now = await cluster.person(namespace, name);
    if (now === undefined) throw nobody(namespace, name);
    const failedAt = new Date(now.status?.lastError?.at ?? 0);
    if (healthOf(now).phase === "stalled" && failedAt > asked) throw stalled(now);
    return { done: acknowledged(now, field, value), person: now };
  });
  session.note(`${name}: done.`);
  return EXIT.done;
}

async function change(
  session: CommandSession,
  name: string,
  wish: Wish,
  said: string,
): Promise<{ readonly exit: Exit; readonly person: UserView }> {
  const namespace = await session.namespace();
  const cluster = await session.cluster();
  const person = await cluster.person(namespace, name);
  if (person === undefined) throw nobody(namespace, name);
  if (wish.field !== "requestedAt" && person.metadata.deletionTimestamp !== undefined) {
    throw failure(`${name} is being deleted: nothing was changed.`);
  }
  const planned = plan(person, wish);
  const told = { namespace, name, field: wish.field, value: wish.value };
  switch (planned.kind) {
    case "nothing":
      if (!session.data({ ...told, changed: false })) session.out(`${name} ${said} already\n`);
      return { exit: EXIT.done, person };
    case "git": {
      const { manager, path, lines } = planned;
      if (!session.data({ ...told, changed: false, ownedBy: manager, path, commit: lines })) {
        session.note(
          `${path} of ${name} is set by ${manager}, so from Git: nothing was changed. Commit this to the file:`,
        );
        session.out(lines);
      }
      return { exit: EXIT.gitOwns, person };
    }
    case "apply": {
      const applied = await cluster.apply(person, planned.body, planned.force);
      if (!session.data({ ...told, changed: true })) session.out(`${name} ${said}\n`);
      return { exit: EXIT.done, person: applied };
    }
    default:
      return planned satisfies never;
  }
}
