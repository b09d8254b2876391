{{/* The volumes of the Pod: each Secret is a file in the one container that needs it. */}}
{{- define "unified-rbac.volumes" -}}
{{- $database := .Values.database -}}
- name: tls
  secret:
    secretName: {{ .Values.certificates.existingSecret }}
    optional: true
    defaultMode: 0440
    items:
      - { key: tls.crt, path: tls.crt }
      - { key: tls.key, path: tls.key }
- name: tls-handover
  emptyDir: { medium: Memory, sizeLimit: 1Mi }
{{- range $who := list "owner" "webhook" "reconciler" }}
- name: database-{{ $who }}
  secret:
    secretName: {{ $database.existingSecret }}
    defaultMode: 0440
    items: [{ key: {{ get $database.keys $who | quote }}, path: url }]
{{- end }}
{{- with .Values.masterKeys }}
{{- if .existingSecret }}
- name: master-keys
  secret:
    secretName: {{ .existingSecret }}
    optional: true
    defaultMode: 0440
    items: [{ key: {{ .key | quote }}, path: keys }]
{{- end }}
{{- end }}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: { path: token, expirationSeconds: 3600 }
      - configMap:
          name: kube-root-ca.crt
          items: [{ key: ca.crt, path: ca.crt }]
      - downwardAPI:
          items: [{ path: namespace, fieldRef: { fieldPath: metadata.namespace } }]
{{- with .Values.admissionClients }}
{{- if .existingSecret }}
- name: admission-clients
  secret:
    secretName: {{ .existingSecret }}
    optional: true
    defaultMode: 0440
    items: [{ key: {{ .key | quote }}, path: ca.crt }]
{{- end }}
{{- end }}
{{- with .Values.nats }}
{{- if .existingSecret }}
- name: nats
  secret:
    secretName: {{ .existingSecret }}
    defaultMode: 0440
    items:
      {{- range $key := compact (values .keys) | uniq | sortAlpha }}
      - { key: {{ $key | quote }}, path: {{ $key | quote }} }
      {{- end }}
{{- end }}
{{- end }}
{{- end }}
