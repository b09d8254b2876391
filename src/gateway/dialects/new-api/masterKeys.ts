import { createHmac, hkdfSync, timingSafeEqual } from "node:crypto";

import type { MasterKeys } from "../../../lib/masterKeys.ts";
import { Sensitive } from "../../../lib/sensitive.ts";
import type { KeyOwner } from "../../gateway.ts";
import { base32 } from "./base32.ts";

/** What is derived for one tenant at one gateway, so that nothing needs to be stored for a person. */
export interface Derived {
  /** The version that new passwords are derived with. */
  readonly current: number;
  /** All versions, the newest first. */
  readonly versions: readonly number[];
  /**
   * A name that nobody can guess and register first; at most 20 characters. `n` counts from 1: the next one is for a
   * person whose name before is taken for ever by an account that was deleted.
   */
  username(uuid: string, version: number, n: number): string;
  /** 20 characters; undefined: that master key is lost. */
  password(uuid: string, version: number): Sensitive | undefined;
  sign(owner: KeyOwner, apiKey: Sensitive): string;
  isSigned(owner: KeyOwner, apiKey: Sensitive, signature: string): boolean;
}

/** `address` is the gateway's: the same tenant at another gateway has other names and passwords. */
export function derive(keys: MasterKeys, tenantID: string, address: string): Derived {
  const tenantKeys = new Map(
    [...keys.byVersion].map(([version, master]) => [
      version,
      Buffer.from(hkdfSync("sha256", master.reveal(), "unified-rbac", `new-api\n${tenantID}\n${address}`, 32)),
    ]),
  );

  function mac(version: number, purpose: string, ...parts: readonly string[]): Buffer | undefined {
    const key = tenantKeys.get(version);
    return key === undefined
      ? undefined
      : createHmac("sha256", key)
          .update(JSON.stringify([purpose, ...parts]))
          .digest();
  }

  function signWith(version: number, { uuid, userID }: KeyOwner, apiKey: Sensitive): string | undefined {
    const tag = mac(version, "sign", uuid, userID, apiKey.reveal());
    return tag === undefined ? undefined : `${version}.${tag.toString("base64url")}`;
  }

  return {
    current: keys.current,
    versions: [...tenantKeys.keys()].toSorted((a, b) => b - a),
    username(uuid, version, n) {
      const name = mac(version, "username", uuid, String(n));
      if (name === undefined) throw new Error(`there is no master key ${version}`);
      return base32(name).slice(0, 20);
    },
    password(uuid, version) {
      const secret = mac(version, "password", uuid);
      return secret === undefined ? undefined : new Sensitive(secret.toString("base64url").slice(0, 20));
    },
    sign(owner, apiKey) {
      const made = signWith(keys.current, owner, apiKey);
      if (made === undefined) throw new Error("the current master key is missing");
      return made;
    },
    isSigned(owner, apiKey, signature) {
      const made = signWith(Number(signature.split(".")[0]), owner, apiKey);
      if (made === undefined) return false;
      const [a, b] = [Buffer.from(made), Buffer.from(signature)];
      return a.length === b.length && timingSafeEqual(a, b);
    },
  };
}
