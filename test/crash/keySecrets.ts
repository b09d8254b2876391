import * as z from "zod";
import type { ApiServer } from "../support/apiServer.ts";

/** A person's Secret, its entries in plain text. */
export interface KeySecret {
  readonly name: string;
  readonly data: Readonly<Record<string, string>>;
}

const secretList = z.object({
  items: z.array(
    z.object({ metadata: z.object({ name: z.string() }), data: z.record(z.string(), z.string()).default({}) }),
  ),
});

/** Every Secret with a person's key that stands in the namespace. */
export async function readKeySecrets(api: ApiServer, namespace: string): Promise<KeySecret[]> {
  const { body } = await api.send("GET", `/api/v1/namespaces/${namespace}/secrets`);
  return secretList
    .parse(body)
    .items.filter(({ metadata }) => metadata.name.startsWith("newapi-key-"))
    .map(({ metadata, data }) => ({
      name: metadata.name,
      data: Object.fromEntries(
        Object.entries(data).map(([key, value]) => [key, Buffer.from(value, "base64").toString()]),
      ),
    }));
}
