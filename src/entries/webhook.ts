import { parseConfig } from "../lib/config.ts";
import { runWebhook } from "../roles/webhook.ts";
import { roleEntry } from "./role.ts";

export const main = roleEntry("webhook", (env) => parseConfig("webhook", env), runWebhook);
