import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  candidateUUID,
  canonicalEmail,
  isUUID,
  isUUIDv4,
  sagaUUID,
  secretName,
  tenantID,
  uuidV5,
} from "../../../src/api/names.ts";

const acme = tenantID("acme");

describe("canonicalEmail", () => {
  it("trims and lowers, so that one address is one person", () => {
    expect(canonicalEmail(" Ada@Example.COM ")).toBe("ada@example.com");
  });

  it("changes nothing the second time", () => {
    fc.assert(
      fc.property(fc.emailAddress(), (email) => {
        expect(canonicalEmail(canonicalEmail(email))).toBe(canonicalEmail(email));
      }),
    );
  });
});

describe("uuidV5", () => {
  it("makes the uuid of RFC 9562's example", () => {
    expect(uuidV5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "www.example.com")).toBe(
      "2ed6657d-e927-568b-95e1-2665a8aea6a2",
    );
  });
});

describe("candidateUUID", () => {
  it("never changes: these people would become others", () => {
    expect(candidateUUID(acme, "ada@example.com")).toBe("1966e19e-baeb-5313-88b6-d64163b036b0");
    expect(candidateUUID(acme, "ada@example.com", 2)).toBe("dede41d3-7ba4-5a74-875f-32970f954ac1");
  });

  it("is the same for every way to write one address", () => {
    expect(candidateUUID(acme, " ADA@example.com")).toBe(candidateUUID(acme, "ada@example.com"));
  });

  it("differs by tenant, by address and by number, and is a uuid of version 5", () => {
    const all = [
      candidateUUID(acme, "ada@example.com"),
      candidateUUID(acme, "ada@example.com", 2),
      candidateUUID(acme, "ada@example.com", 3),
      candidateUUID(acme, "bob@example.com"),
      candidateUUID(tenantID("other"), "ada@example.com"),
    ];
    expect(new Set(all).size).toBe(all.length);
    for (const uuid of all)
      expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/u);
  });
});

describe("uuids from outside", () => {
  it("are taken in lower case only", () => {
    expect(isUUID("0b9d1c7e-5a3f-5e0c-9d43-8a2b6c1e7d90")).toBe(true);
    expect(isUUID("0B9D1C7E-5A3F-5E0C-9D43-8A2B6C1E7D90")).toBe(false);
    expect(() => sagaUUID("ada")).toThrow("not a uuid");
  });

  it("are fresh pins only in version 4", () => {
    expect(isUUIDv4("0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90")).toBe(true);
    expect(isUUIDv4("0b9d1c7e-5a3f-5e0c-9d43-8a2b6c1e7d90")).toBe(false);
  });
});

it("a tenant id is a DNS label, so that no slash in it can make two people one", () => {
  expect(() => tenantID("a/b")).toThrow("not a tenant id");
});

it("a Secret is named after the uuid", () => {
  expect(secretName(sagaUUID("0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90"))).toBe(
    "newapi-key-0b9d1c7e-5a3f-4e0c-9d43-8a2b6c1e7d90",
  );
});
