/** The people that the demo commits. */

import { API_VERSION } from "../../src/api/meta.ts";
import { toYAML } from "../../src/lib/yaml.ts";

export interface DemoPerson {
  readonly name: string;
  readonly email: string;
  readonly path: string;
  readonly manifest: string;
}

const MANY = 1000;

/** Ada, and with her as many others as it takes. */
export function demoPeople(tenant: string, count: number): readonly DemoPerson[] {
  return Array.from({ length: count }, (_, index) =>
    index === 0
      ? person(tenant, "ada", "Ada Lovelace")
      : person(tenant, `demo-${String(index + 1).padStart(3, "0")}`, `Demo Person ${index + 1}`),
  );
}

/** Whether a file in the repository is the demo's own, and may be taken away by it. */
export const isDemoPath = (path: string): boolean => /^users\/(ada|demo-\d+)\.yaml$/.test(path);

/** `DEMO_USERS`: how many. Throws a sentence on anything that is no sensible number. */
export function howMany(text: string | undefined): number {
  if (text === undefined || text === "") return 1;
  if (/^\d{1,4}$/.test(text) && Number(text) >= 1 && Number(text) <= MANY) return Number(text);
  throw new Error(`DEMO_USERS must be a whole number from 1 to ${MANY}.`);
}

function person(tenant: string, name: string, displayName: string): DemoPerson {
  const email = `${name}@${tenant}.example`;
  const object = { apiVersion: API_VERSION, kind: "TenantUser", metadata: { name }, spec: { email, displayName } };
  return { name, email, path: `users/${name}.yaml`, manifest: toYAML(object) };
}
