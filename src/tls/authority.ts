/**
 * The webhook's certificates: a CA of its own that signs one leaf, and then its key is thrown away, so that nobody can
 * ever sign another. Renewing makes a new pair; the old CA stays in the bundle until its leaf is no longer served.
 */
import { createPrivateKey, randomBytes, X509Certificate } from "node:crypto";
import { generate } from "selfsigned";

/** All PEM. What the Secret holds. */
export interface CertificateSet {
  /** The leaf. */
  readonly cert: string;
  readonly key: string;
  /** Whom the API server shall trust: the CA of the leaf first, then the one before it. */
  readonly ca: string;
}

/** Where the API server finds the webhook. */
export interface CertificateSubject {
  /** At least one, e.g. unified-rbac-webhook.unified-rbac-system.svc. */
  readonly dnsNames: readonly string[];
  readonly ips: readonly string[];
}

export type RenewalReason = "absent" | "unreadable" | "names" | "expiring";
export type RenewalPlan =
  | { readonly action: "keep"; /** Milliseconds since the epoch. */ readonly renewAt: number }
  | {
      readonly action: "renew";
      readonly reason: RenewalReason;
      /** PEM of CAs to keep trusting. */ readonly keep: string;
    };

const DAY_MS = 86_400_000;
export const LIFETIME_MS = 90 * DAY_MS;
/** Clocks of nodes differ; a certificate is valid from a little before now. */
const BACKDATE_MS = 3_600_000;

const PEM = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

/** Pure. Renews at two thirds of the life, when the names have changed, or when what is there is not whole. */
export function planRenewal(
  current: CertificateSet | undefined,
  subject: CertificateSubject,
  now: number,
): RenewalPlan {
  if (current === undefined) return { action: "renew", reason: "absent", keep: "" };
  const read = readSet(current);
  if (read === undefined) return { action: "renew", reason: "unreadable", keep: "" };
  const { leaf, authorities } = read;
  const issuer = issuerOf(leaf, authorities);
  if (issuer === undefined) return { action: "renew", reason: "unreadable", keep: "" };
  // Only the one whose leaf is served right now; an expired one helps nobody.
  const keep = issuer.validToDate.getTime() > now ? pemOf(issuer) : "";
  if (!covers(leaf, subject)) return { action: "renew", reason: "names", keep };
  const from = leaf.validFromDate.getTime();
  const renewAt = from + ((leaf.validToDate.getTime() - from) * 2) / 3;
  return now < renewAt && now >= from ? { action: "keep", renewAt } : { action: "renew", reason: "expiring", keep };
}

/** A new CA and its leaf, EC P-256; `keep` goes into the bundle behind the new CA. */
export async function makeCertificates(
  subject: CertificateSubject,
  options: { readonly now: number; readonly keep?: string; readonly lifetimeMs?: number },
): Promise<CertificateSet> {
  const [name] = subject.dnsNames;
  if (name === undefined) throw new Error("a certificate needs a DNS name");
  const common = {
    keyType: "ec",
    curve: "P-256",
    algorithm: "sha256",
    notBeforeDate: new Date(options.now - BACKDATE_MS),
    notAfterDate: new Date(options.now + (options.lifetimeMs ?? LIFETIME_MS)),
  } as const;
  // A name of its own for each CA: where two in a bundle share one, OpenSSL tries only the first.
  const authority = await generate([{ name: "commonName", value: `unified-rbac ${randomBytes(6).toString("hex")}` }], {
    ...common,
    extensions: [
      { name: "basicConstraints", cA: true, pathLenConstraint: 0, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  // A common name holds 64 characters at most; it is the alternative names that count.
  const leaf = await generate([{ name: "commonName", value: name.slice(0, 64) }], {
    ...common,
    ca: { key: authority.private, cert: authority.cert },
    extensions: [
      { name: "basicConstraints", cA: false, critical: true },
      { name: "keyUsage", digitalSignature: true, critical: true },
      { name: "extKeyUsage", serverAuth: true },
      {
        name: "subjectAltName",
        altNames: [
          ...subject.dnsNames.map((value) => ({ type: 2 as const, value })),
          ...subject.ips.map((ip) => ({ type: 7 as const, ip })),
        ],
      },
    ],
  });
  const ca = [authority.cert, options.keep ?? ""].filter((pem) => pem !== "").map(ended);
  return { cert: ended(leaf.cert), key: ended(leaf.private), ca: ca.join("") };
}

/** Whether a client that trusts `ca` trusts `cert`, dates aside. Both PEM; false where one of them is unreadable. */
export function vouchesFor(ca: string, cert: string): boolean {
  try {
    return issuerOf(new X509Certificate(cert), readAuthorities(ca)) !== undefined;
  } catch {
    return false;
  }
}

function issuerOf(leaf: X509Certificate, authorities: readonly X509Certificate[]): X509Certificate | undefined {
  return authorities.find((ca) => leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
}

function readAuthorities(ca: string): X509Certificate[] {
  return (ca.match(PEM) ?? []).map((pem) => new X509Certificate(pem));
}

function readSet(set: CertificateSet): { leaf: X509Certificate; authorities: X509Certificate[] } | undefined {
  try {
    const leaf = new X509Certificate(set.cert);
    if (!leaf.checkPrivateKey(createPrivateKey(set.key))) return undefined;
    return { leaf, authorities: readAuthorities(set.ca) };
  } catch {
    return undefined;
  }
}

function covers(leaf: X509Certificate, { dnsNames, ips }: CertificateSubject): boolean {
  const exactly = { subject: "never", wildcards: false } as const;
  return (
    dnsNames.every((name) => leaf.checkHost(name, exactly) !== undefined) &&
    ips.every((ip) => leaf.checkIP(ip) !== undefined)
  );
}

function pemOf(certificate: X509Certificate): string {
  return certificate.toString();
}

function ended(pem: string): string {
  return `${pem.trimEnd()}\n`;
}
