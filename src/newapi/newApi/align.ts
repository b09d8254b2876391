import type { WantedAccount } from "../gateway.ts";
import { withMark } from "./marks.ts";
import type { User } from "./users.ts";

const LONGEST_DISPLAY_NAME = 20;

/** What of an account can be changed and is not as wanted; absent: it is. */
export interface Corrections {
  readonly fields: { readonly group: string; readonly remark: string; readonly displayName: string } | undefined;
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

/** What the gateway's admin reads beside the derived name. */
export function displayName({ email }: Pick<WantedAccount, "email">): string {
  return Array.from(email).slice(0, LONGEST_DISPLAY_NAME).join("");
}
