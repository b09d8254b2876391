/** Looks from outside whether a person really has what the status says, and whether it is really gone. */
import { connect } from "@nats-io/transport-node";
import * as z from "zod";

import { EVENT_SUBJECT } from "../../src/bus/streams.ts";
import type { UserEvent } from "../../src/api/userEvent.ts";
import type { StackEnv } from "../env.ts";
import type { Kube } from "../kube.ts";
import type { OnboardedTenant } from "../onboard.ts";

const CALL_MS = 5_000;

/** What a person's Secret says. The key is never shown. */
export interface Credentials {
  readonly secret: string;
  readonly baseURL: string;
  readonly apiKey: string;
}

const secretShape = z.looseObject({ data: z.object({ "api-key": z.string(), "base-url": z.string() }) });

export async function readCredentials(kube: Kube, namespace: string, name: string): Promise<Credentials | undefined> {
  const found = await kube.get(`/api/v1/namespaces/${namespace}/secrets/${name}`);
  if (found === undefined) return undefined;
  const { data } = secretShape.parse(found);
  return { secret: name, baseURL: plain(data["base-url"]), apiKey: plain(data["api-key"]) };
}

const plain = (base64: string): string => Buffer.from(base64, "base64").toString("utf8");

const modelsAnswer = z.object({ data: z.array(z.object({ id: z.string() })) });

/** What the gateway answers to this key. */
export async function callGateway({ baseURL, apiKey }: Credentials): Promise<string> {
  const answer = await fetch(`${baseURL}/v1/models`, {
    headers: { authorization: `Bearer ${apiKey}` },
    signal: AbortSignal.timeout(CALL_MS),
  });
  const text = await answer.text();
  if (!answer.ok) return `${answer.status} ${answer.statusText}`;
  const models = modelsAnswer.parse(JSON.parse(text)).data.map(({ id }) => id);
  return `${answer.status} ${answer.statusText}, models: ${models.join(", ")}`;
}

/** The Keycloak user as its administrator sees it; undefined: there is none. */
export async function keycloakUser({ realm }: OnboardedTenant, email: string): Promise<string | undefined> {
  const [user] = await realm.admin.users.find({ email, exact: true, briefRepresentation: false });
  if (user?.id === undefined) return undefined;
  const groups = await realm.admin.users.listGroups({ id: user.id });
  const marks = Object.entries(user.attributes ?? {}).map(([name, values]) => `${name}=${String(values)}`);
  return [
    `username ${user.username ?? ""}, enabled ${String(user.enabled)}, groups ${groups.map(({ path }) => path).join(" ")}`,
    marks.toSorted().join(", "),
  ].join("\n");
}

export interface Events {
  /** The newest event of this type about this person, if one has arrived. */
  find(type: UserEvent["type"], email: string): UserEvent | undefined;
  close(): Promise<void>;
}

/** Listens as billing or notification would. */
export async function listen(env: StackEnv): Promise<Events> {
  const connection = await connect({ servers: new URL(env.NATS_URL).host, name: "demo" });
  const seen: UserEvent[] = [];
  connection.subscribe(EVENT_SUBJECT, {
    callback: (error, message) => {
      if (error === null) seen.push(message.json<UserEvent>());
    },
  });
  // The server has the subscription before anything is pushed.
  await connection.flush();
  return {
    find: (type, email) => seen.findLast((event) => event.type === type && event.data.email === email),
    close: () => connection.close(),
  };
}
