{{/* The prefix of the names of objects: "ferrolb" for a release of that name. */}}
{{- define "ferrolb.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects the Pods of a part. Speakers find each other by the first two, so no value changes them.
     Call with (list $ "speaker"). */}}
{{- define "ferrolb.selectorLabels" -}}
app.kubernetes.io/name: ferrolb
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
{{- end -}}

{{/* Labels of everything that belongs to a part. Call with (list $ "speaker"). */}}
{{- define "ferrolb.labels" -}}
{{ include "ferrolb.selectorLabels" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version }}
{{- end -}}

{{/* The service account of a part. Call with (list $ "speaker"). */}}
{{- define "ferrolb.serviceAccountName" -}}
{{- $root := index . 0 -}}
{{- $account := (index $root.Values (index . 1)).serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "ferrolb.fullname" $root) (index . 1)) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{/* The image of a part, with its pull policy. Call with (list $ "speaker"). */}}
{{- define "ferrolb.image" -}}
{{- $root := index . 0 -}}
{{- $image := mergeOverwrite (deepCopy $root.Values.image) (index $root.Values (index . 1)).image -}}
image: {{ printf "%s:%s" $image.repository (default $root.Chart.AppVersion $image.tag) }}
imagePullPolicy: {{ $image.pullPolicy }}
{{- end -}}

{{/* What is equal in the Pods of both parts, at the level of the template. Call with (list $ "speaker"). */}}
{{- define "ferrolb.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
labels:
  {{- include "ferrolb.labels" . | nindent 2 }}
  {{- with $part.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or $part.podAnnotations $root.Values.prometheus.scrapeAnnotations }}
annotations:
  {{- if $root.Values.prometheus.scrapeAnnotations }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ $root.Values.prometheus.metricsPort | quote }}
  {{- end }}
  {{- with $part.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{- define "ferrolb.podSpec" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "ferrolb.serviceAccountName" . }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.securityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* Options, environment, ports and probes that both programs have. */}}
{{- define "ferrolb.container" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
env:
  - name: FERROLB_NAMESPACE
    valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
  - name: FERROLB_POD_NAME
    valueFrom: {fieldRef: {fieldPath: metadata.name}}
  {{- if eq (index . 1) "speaker" }}
  - name: FERROLB_NODE_NAME
    valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
  {{- end }}
ports:
  - name: http
    containerPort: {{ $root.Values.prometheus.metricsPort }}
livenessProbe:
  httpGet: {path: /healthz, port: http}
  {{- toYaml $part.livenessProbe | nindent 2 }}
readinessProbe:
  httpGet: {path: /readyz, port: http}
  {{- toYaml $part.readinessProbe | nindent 2 }}
{{- with $part.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
