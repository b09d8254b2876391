/** A CA of its own, and clients that it vouches for, as a platform makes them for its API server. */
import { generate } from "selfsigned";

export interface ClientCertificate {
  readonly cert: string;
  readonly key: string;
}

export interface ClientAuthority {
  /** PEM. */
  readonly ca: string;
  issue(commonName: string, dnsName?: string): Promise<ClientCertificate>;
}

export async function makeClientAuthority(name = "clients of the platform"): Promise<ClientAuthority> {
  const common = { keyType: "ec", curve: "P-256", algorithm: "sha256" } as const;
  const authority = await generate([{ name: "commonName", value: name }], {
    ...common,
    extensions: [
      { name: "basicConstraints", cA: true, critical: true },
      { name: "keyUsage", keyCertSign: true, cRLSign: true, critical: true },
    ],
  });
  return {
    ca: authority.cert,
    async issue(commonName, dnsName) {
      const made = await generate([{ name: "commonName", value: commonName }], {
        ...common,
        ca: { key: authority.private, cert: authority.cert },
        extensions: [
          { name: "basicConstraints", cA: false },
          { name: "keyUsage", digitalSignature: true, critical: true },
          { name: "extKeyUsage", clientAuth: true },
          ...(dnsName === undefined
            ? []
            : [{ name: "subjectAltName" as const, altNames: [{ type: 2 as const, value: dnsName }] }]),
        ],
      });
      return { cert: made.cert, key: made.private };
    },
  };
}
