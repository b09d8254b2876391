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

/** http or https, a host, perhaps a port and a path; no user, no query, no slash at the end. */
export const URL_BASE =
  "^https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[0-9]{1,5})?(/[A-Za-z0-9._~%-]+)*$";
