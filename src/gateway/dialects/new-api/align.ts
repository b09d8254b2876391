import { createHash } from "node:crypto";

import type { WantedAccount } from "../../gateway.ts";
import { base32 } from "./base32.ts";
import { withMark } from "./marks.ts";
import type { User } from "./users.ts";

/** With {@link searchWord} and a space it is the most that the gateway takes, 20. */
const EMAIL_SHOWN = 9;
const SEARCH_WORD = 10;

export interface Fields {
  readonly group: string;
  readonly remark: string;
  readonly displayName: string;
}

/** What of an account can be changed and is not as wanted; absent: it is. */
export interface Corrections {
  readonly fields: Fields | undefined;
  /** What is left to spend: a quota counts from the beginning, what was used is part of it. */
  readonly quotaLeft: number | undefined;
}

/** What an admin wrote beside our mark in the remark is kept. */
export function corrections(user: User, wanted: Omit<WantedAccount, "enabled" | "userID">): Corrections {
  const fields = {
    group: wanted.tier,
    remark: withMark(user.remark, wanted),
    displayName: displayName(wanted),
  };
  const same = user.group === fields.group && user.remark === fields.remark && user.displayName === fields.displayName;
  return { fields: same ? undefined : fields, quotaLeft: correctedQuota(user, wanted.quota) };
}

function correctedQuota({ quota, usedQuota }: User, wanted: number | undefined): number | undefined {
  if (wanted === undefined || quota + usedQuota === wanted) return undefined;
  const left = Math.max(0, wanted - usedQuota);
  return left === quota ? undefined : left;
}

/** What the gateway's admin reads beside the derived name, and what the account is found by when all records are lost. */
export function displayName(person: Pick<WantedAccount, "email" | "tenantID" | "uuid">): string {
  return `${Array.from(person.email).slice(0, EMAIL_SHOWN).join("")} ${searchWord(person)}`;
}

/** Of letters and digits alone: the gateway's search takes some characters for wildcards, and people choose their emails. */
export function searchWord({ tenantID, uuid }: Pick<WantedAccount, "tenantID" | "uuid">): string {
  const digest = createHash("sha256").update(`${tenantID}/${uuid}`).digest();
  return base32(digest).slice(0, SEARCH_WORD);
}
