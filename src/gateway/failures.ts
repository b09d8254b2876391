import { failuresOf } from "../lib/errors.ts";

export const { terminal, unavailable, waiting } = failuresOf("newapi");
