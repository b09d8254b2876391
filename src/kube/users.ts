/** TenantUsers. */
import * as z from "zod";
import { FINALIZER } from "../api/meta.ts";
import { liveTenantUser, type LiveTenantUser } from "../api/tenantUser.ts";
import type { Cluster } from "./cluster.ts";
import { type ApiClient, json } from "./apiClient.ts";
import { listAll, moved, readOwn } from "./exchange.ts";
import { addFinalizer, applyStatus, collectionPath, get, label, removeFinalizer } from "./objects.ts";

type Users = Pick<
  Cluster,
  "getTenantUser" | "listTenantUsers" | "applyTenantUserStatus" | "addFinalizer" | "removeFinalizer"
>;

export function makeUsers(connection: ApiClient): Users {
  return {
    async getTenantUser(namespace, name, signal) {
      const answer = await get(connection, { kind: "TenantUser", metadata: { namespace, name } }, signal);
      return answer === undefined ? undefined : readUser(json(answer), `TenantUser ${namespace}/${name}`);
    },
    async listTenantUsers(namespace, signal) {
      const path = collectionPath("TenantUser", namespace);
      const items = await listAll(connection, { doing: `list tenantusers in ${namespace}`, path }, signal);
      return items.flatMap((item) => liveTenantUser.safeParse(item).data ?? []);
    },
    // Once: a worker that comes late must not cover the status of the one who took over. Whoever moved the object has
    // touched its row, and is answered by the next claim.
    async applyTenantUserStatus(user, status, signal) {
      return (await applyStatus(connection, user, status, signal, 1)) !== undefined;
    },
    async addFinalizer(user, signal) {
      if (user.metadata.finalizers?.includes(FINALIZER)) return user;
      const answer = await addFinalizer(connection, user, signal);
      if (answer === undefined) throw moved(label(user));
      return readUser(json(answer), label(user));
    },
    removeFinalizer: (user, signal) => removeFinalizer(connection, user, signal),
  };
}

const deleting = z.looseObject({ metadata: liveTenantUser.shape.metadata.required({ deletionTimestamp: true }) });

function readUser(object: unknown, name: string): LiveTenantUser {
  try {
    return readOwn(liveTenantUser, object, name);
  } catch (error) {
    // One on its way out is not judged: its metadata are enough to undo it, and a refusal would keep it for ever.
    if (isDeleting(object)) return object;
    throw error;
  }
}

function isDeleting(object: unknown): object is LiveTenantUser {
  return deleting.safeParse(object).success;
}
