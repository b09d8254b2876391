/** Regular expressions that RE2 (in the API server) and JavaScript read alike. */

/** RFC 1123 subdomain: names of Secrets. */
export const DNS_SUBDOMAIN = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/** RFC 1123 label: namespaces, tenant ids. */
export const DNS_LABEL = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$";

/** Entries of a Secret's data. */
export const SECRET_KEY = "^([-_a-zA-Z0-9][-._a-zA-Z0-9]*|[.][-_a-zA-Z0-9][-._a-zA-Z0-9]*)$";

const NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?";
/** A label's or annotation's name, with or without a prefix. */
export const QUALIFIED_NAME = `^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?${NAME}$`;
export const LABEL_VALUE = `^(${NAME})?$`;

/** Text on one line, without spaces around it: names of groups, roles, tiers. */
export const PLAIN = "^[^\\x00-\\x20\\x7F]([^\\x00-\\x1F\\x7F]*[^\\x00-\\x20\\x7F])?$";
/** The same without an asterisk: lists in a Tenant name things exactly. */
export const PLAIN_NO_GLOB = "^[^\\x00-\\x20\\x7F*]([^\\x00-\\x1F\\x7F*]*[^\\x00-\\x20\\x7F*])?$";

const ATEXT = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const DOMAIN_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
/** One address, spaces around it allowed; the domain has a dot and does not end in a number. */
export const EMAIL = `^ *${ATEXT}([.]${ATEXT})*@(${DOMAIN_LABEL}[.])+[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])? *$`;
/** The domain of an address in its canonical form. */
export const EMAIL_DOMAIN = "^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?[.])+[a-z]([a-z0-9-]{0,61}[a-z0-9])?$";

export const UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

const OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
const HOST_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
/** The last label begins with a letter: a name that ends in a number is read as an IPv4 address. */
const HOST_NAME = `(${HOST_LABEL}[.])*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?`;
const H16 = "[0-9A-Fa-f]{1,4}";
/** Every form of RFC 4291 without a zone and without an IPv4 address in it: "::" stands for one group or more, once. */
const IPV6 = [
  `(${H16}:){7}${H16}`,
  `(${H16}:){1,7}:`,
  ...[6, 5, 4, 3, 2, 1].map((n) => `(${H16}:){1,${n}}(:${H16}){1,${7 - n}}`),
  `:(:${H16}){1,7}`,
  "::",
].join("|");
/** 1 to 65535. */
const PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

/** http or https, a host, perhaps a port and a path; no user, no query, no fragment, no slash at the end. */
export const URL_BASE = `^https?://(${HOST_NAME}|${OCTET}([.]${OCTET}){3}|\\[(${IPV6})\\])(:${PORT})?(/([A-Za-z0-9._~-]|%[0-9A-Fa-f]{2})+)*$`;
/** A step up or in place: what is asked for would not be what is written. */
export const URL_DOT_SEGMENT = "/([.]|%2[Ee]){1,2}(/|$)";
/** More than the 253 characters that a host may have. */
export const URL_LONG_HOST = "^https?://[^/:]{254}";
