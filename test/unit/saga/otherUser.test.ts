import { expect, test } from "vitest";
import { otherUser } from "../../../src/saga/otherUser.ts";

test.each([
  ["tenant-a", { namespace: "tenant-a", name: "ada" }, "TenantUser ada"],
  ["tenant-a", { namespace: "tenant-b", name: "ada" }, "a TenantUser in another namespace of this tenant"],
  ["tenant-a", { namespace: "tenant-a", name: undefined }, "a TenantUser in another namespace of this tenant"],
  [undefined, { namespace: undefined, name: "ada" }, "a TenantUser in another namespace of this tenant"],
])("read in %s, %j is %s", (reader, other, words) => {
  expect(otherUser(reader, other)).toBe(words);
});
