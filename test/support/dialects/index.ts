/** The dialects that are shipped, and a third: what it takes to add one is its folder and its line here. */
import { DIALECTS } from "../../../src/gateway/dialects/index.ts";
import { plain } from "./plain/dialect.ts";

export const TEST_DIALECTS = {
  ...DIALECTS,
  plain,
};
export type TestDialect = keyof typeof TEST_DIALECTS;
