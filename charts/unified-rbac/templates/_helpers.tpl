{{/* Labels of every object; . is the root. "component" is set by whoever calls unified-rbac.metadata. */}}
{{- define "unified-rbac.labels" -}}
app.kubernetes.io/name: unified-rbac
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: unified-rbac
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Takes (list root name component) or (list root name component "cluster") for what is in no namespace. */}}
{{- define "unified-rbac.metadata" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
{{- if lt (len .) 4 }}
namespace: {{ $root.Release.Namespace }}
{{- end }}
labels:
  {{- include "unified-rbac.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ index . 2 }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
  {{- with $root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "unified-rbac.selector" -}}
app.kubernetes.io/name: unified-rbac
{{- end }}

{{- define "unified-rbac.image" -}}
{{- with .Values.image -}}
image: {{ if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- with .pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "unified-rbac.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- define "unified-rbac.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{/* Each is a file that the reconciler reads at each connect: variable, entry of the Secret. */}}
{{- define "unified-rbac.natsFiles" -}}
{{- $keys := .Values.nats.keys -}}
{{- $files := dict
  "NATS_URL_FILE" $keys.url
  "NATS_PASSWORD_FILE" $keys.password
  "NATS_TOKEN_FILE" $keys.token
  "NATS_CREDS_FILE" $keys.credentials
  "NATS_NKEY_FILE" $keys.nkey
  "NATS_CA_FILE" $keys.ca
  "NATS_CERT_FILE" $keys.certificate
  "NATS_KEY_FILE" $keys.key
-}}
{{- range $variable, $key := $files }}
{{- if $key }}
{{ $variable }}: {{ $key }}
{{- end }}
{{- end }}
{{- end }}

{{/* What all containers of a Pod read from their environment. */}}
{{- define "unified-rbac.settings" -}}
{{- $names := prepend .Values.webhook.dnsNames (printf "unified-rbac-webhook.%s.svc" .Release.Namespace) }}
{{- $ips := .Values.webhook.ips }}
{{- with .Values.webhook.url }}
{{- $host := regexReplaceAll ":[0-9]+$" (urlParse .).host "" | trimPrefix "[" | trimSuffix "]" }}
{{- if regexMatch "^[0-9.]+$|:" $host }}
{{- $ips = append $ips $host }}
{{- else }}
{{- $names = append $names $host }}
{{- end }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{- if not (and (eq $name "NATS_URL") $.Values.nats.keys.url) }}
{{ $name }}: {{ $value | toString | quote }}
{{- end }}
{{- end }}
{{- range $variable, $key := include "unified-rbac.natsFiles" . | fromYaml }}
{{ $variable }}: /nats/{{ $key }}
{{- end }}
{{- if .Values.admissionClients.existingSecret }}
ADMISSION_CLIENT_CA_FILE: /admission-clients/ca.crt
{{- with .Values.admissionClients.names }}
ADMISSION_CLIENT_NAMES: {{ join "," . | quote }}
{{- end }}
{{- end }}
WEBHOOK_CERTIFICATES: {{ eq .Values.certificates.source "own" | ternary "own" "external" }}
WEBHOOK_CONFIGURATION: unified-rbac
WEBHOOK_DNS_NAMES: {{ join "," (uniq $names) | quote }}
{{- with $ips }}
WEBHOOK_IPS: {{ join "," (uniq .) | quote }}
{{- end }}
WEBHOOK_TLS_SECRET: {{ .Values.certificates.existingSecret }}
{{- end }}

{{/* How the API server finds a path of the webhook; takes (list root path). */}}
{{- define "unified-rbac.clientConfig" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.webhook.url -}}
url: {{ $root.Values.webhook.url }}{{ index . 1 }}
{{- else -}}
service:
  name: unified-rbac-webhook
  namespace: {{ $root.Release.Namespace }}
  path: {{ index . 1 }}
  port: 443
{{- end }}
{{- with $root.Values.certificates.caBundle }}
caBundle: {{ b64enc . }}
{{- end }}
{{- end }}

{{/* Fails where values that are right by themselves do not fit together. */}}
{{- define "unified-rbac.check" -}}
{{- if ne .Release.Namespace "unified-rbac-system" }}
{{- fail "install this chart into the namespace unified-rbac-system (--namespace unified-rbac-system --create-namespace): the tenants' files and the commands name it" }}
{{- end }}
{{- with .Values.nats }}
{{- $named := compact (values .keys) }}
{{- if and $named (not .existingSecret) }}
{{- fail "nats.keys needs nats.existingSecret: the Secret that has these entries" }}
{{- end }}
{{- if and .existingSecret (not $named) }}
{{- fail "nats.existingSecret needs nats.keys: which entries it has" }}
{{- end }}
{{- end }}
{{- with .Values.certificates }}
{{- if and .caBundle (ne .source "secret") }}
{{- fail (printf "certificates.caBundle is for certificates.source secret, and source is %s" .source) }}
{{- end }}
{{- if and (eq .source "secret") (not .caBundle) (not $.Values.webhook.annotations) }}
{{- fail "certificates.source secret needs certificates.caBundle, or webhook.annotations for a CA injector" }}
{{- end }}
{{- end }}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled }}
{{- fail "monitoring: enable serviceMonitor or podMonitor, not both: every metric would be there twice" }}
{{- end }}
{{- end }}
