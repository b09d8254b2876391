import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { LIFETIME_MS, makeCertificates, planRenewal, type CertificateSubject } from "../../../src/tls/authority.ts";

const SUBJECT: CertificateSubject = {
  dnsNames: ["webhook.ns.svc", "webhook.ns.svc.cluster.local"],
  ips: ["127.0.0.1", "::1"],
};
const NOW = Date.UTC(2026, 0, 1);

describe("makeCertificates", () => {
  test("makes a leaf for every name, signed by a CA that can do nothing else", async () => {
    const set = await makeCertificates(SUBJECT, { now: NOW });
    const leaf = new X509Certificate(set.cert);
    const ca = new X509Certificate(set.ca);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect(leaf.ca).toBe(false);
    expect(ca.ca).toBe(true);
    expect(leaf.publicKey.asymmetricKeyType).toBe("ec");
    expect(leaf.checkHost("webhook.ns.svc.cluster.local")).toBeDefined();
    expect(leaf.checkIP("::1")).toBeDefined();
    expect(leaf.checkHost("other.ns.svc")).toBeUndefined();
    expect(leaf.validFromDate.getTime()).toBeLessThan(NOW);
  });
});

describe("planRenewal", () => {
  test("keeps until two thirds of the life, then renews and keeps trusting the old CA", async () => {
    const set = await makeCertificates(SUBJECT, { now: NOW });
    const twoThirds = NOW + (LIFETIME_MS * 2) / 3;
    expect(planRenewal(set, SUBJECT, NOW)).toMatchObject({ action: "keep" });
    expect(planRenewal(set, SUBJECT, twoThirds - 3_600_000).action).toBe("keep");
    expect(planRenewal(set, SUBJECT, twoThirds)).toEqual({ action: "renew", reason: "expiring", keep: set.ca });
  });

  test("holds two CAs at most: the one before the last is forgotten", async () => {
    const first = await makeCertificates(SUBJECT, { now: NOW });
    const second = await makeCertificates(SUBJECT, { now: NOW, keep: first.ca });
    expect(second.ca.match(/BEGIN/g)).toHaveLength(2);
    const plan = planRenewal(second, SUBJECT, NOW + LIFETIME_MS - 1);
    expect(plan).toMatchObject({ action: "renew", keep: second.ca.replace(first.ca, "") });
  });

  test("renews what is absent, broken, does not belong together, or has other names", async () => {
    const set = await makeCertificates(SUBJECT, { now: NOW });
    const other = await makeCertificates(SUBJECT, { now: NOW });
    const reason = (current: typeof set | undefined, subject = SUBJECT) => planRenewal(current, subject, NOW);
    expect(reason(undefined)).toMatchObject({ reason: "absent" });
    expect(reason({ cert: "", key: "", ca: "" })).toMatchObject({ reason: "unreadable" });
    expect(reason({ ...set, key: other.key })).toMatchObject({ reason: "unreadable" });
    expect(reason({ ...set, ca: other.ca })).toMatchObject({ reason: "unreadable" });
    expect(reason(set, { ...SUBJECT, ips: ["10.0.0.1"] })).toMatchObject({ reason: "names", keep: set.ca });
  });

  test("trusts no CA that has expired", async () => {
    const set = await makeCertificates(SUBJECT, { now: NOW });
    expect(planRenewal(set, SUBJECT, NOW + LIFETIME_MS + 1)).toEqual({ action: "renew", reason: "expiring", keep: "" });
  });
});
