import type { Part } from "../part.ts";
import { admission } from "./admission.ts";
import { apply } from "./apply.ts";
import { burst } from "./burst.ts";
import { calls } from "./calls.ts";
import { heartbeat } from "./heartbeat.ts";
import { memory } from "./memory.ts";
import { push } from "./push.ts";
import { replicas } from "./replicas.ts";
import { rest } from "./rest.ts";
import { user } from "./user.ts";
import { watches } from "./watches.ts";

/** In this order: those that leave the machine warm and full come last. */
export const parts: readonly Part[] = [
  admission,
  apply,
  user,
  calls,
  push,
  memory,
  heartbeat,
  rest,
  replicas,
  watches,
  burst,
];
