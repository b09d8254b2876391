import * as z from "zod";

import { type Call, jsonBody, type Reply } from "../exchange.ts";
import { failure, success } from "./answers.ts";
import type { Memory, Token } from "./memory.ts";
import type { Settings } from "./settings.ts";
import { paged } from "./users.ts";

const created = z.object({ name: z.string() });
const changed = z.object({ id: z.int(), status: z.int() });

/** A caller's own tokens: nobody sees or makes another's. */
export function tokensAPI(memory: Memory, settings: () => Settings) {
  const { tokens } = memory;
  const own = (caller: number) => [...tokens.values()].filter(({ userID }) => userID === caller);
  const listed = (token: Token) => (settings().generation === "2026-02" ? whole(token) : masked(token));
  const ownOne = (caller: number, id: number) => own(caller).find((token) => token.id === id);

  return {
    list: (call: Call, caller: number): Reply =>
      success(
        paged(
          call,
          own(caller)
            .toSorted((a, b) => b.id - a.id)
            .map(listed),
        ),
      ),
    create(call: Call, caller: number): Reply {
      const body = created.safeParse(jsonBody(call)).data;
      if (body === undefined) return failure("Invalid parameters");
      if (body.name.length > 50) return failure("令牌名称过长");
      const { maxTokens } = settings();
      if (own(caller).length >= maxTokens) return failure(`已达到最大令牌数量限制 (${maxTokens})`);
      memory.addToken(caller, body.name);
      return success();
    },
    reveal(id: number, caller: number): Reply {
      const token = ownOne(caller, id);
      return token === undefined ? failure("record not found") : success({ key: token.key });
    },
    one(id: number, caller: number): Reply {
      const token = ownOne(caller, id);
      return token === undefined ? failure("record not found") : success(listed(token));
    },
    setStatus(call: Call, caller: number): Reply {
      const body = changed.safeParse(jsonBody(call)).data;
      const token = body === undefined ? undefined : ownOne(caller, body.id);
      if (body === undefined || token === undefined) return failure("record not found");
      token.status = body.status;
      return success(listed(token));
    },
    remove(id: number, caller: number): Reply {
      if (ownOne(caller, id) === undefined) return failure("record not found");
      tokens.delete(id);
      return success();
    },
  };
}

function whole({ id, name, status, key }: Token): Record<string, unknown> {
  return { id, name, status, key, expired_time: -1, unlimited_quota: true };
}

function masked({ id, name, status, key }: Token): Record<string, unknown> {
  return {
    id,
    name,
    status,
    key: `${key.slice(0, 4)}**********${key.slice(-4)}`,
    expired_time: -1,
    unlimited_quota: true,
  };
}
