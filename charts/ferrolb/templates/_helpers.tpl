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

{{/* Whether the image of a part is named after MetalLB's, as in a values file that was written for its chart: "true" or
     nothing. Call with (list $ "speaker"). */}}
{{- define "ferrolb.imageIsMetallbs" -}}
{{- $image := (index (index . 0).Values (index . 1)).image | default dict -}}
{{- if regexMatch "(^|/)metallb[/-](controller|speaker)$" ($image.repository | default "") -}}true{{- end -}}
{{- end -}}

{{/* The image of a part, with its pull policy. Call with (list $ "speaker"). */}}
{{- define "ferrolb.image" -}}
{{- $root := index . 0 -}}
{{- $own := (index $root.Values (index . 1)).image | default dict -}}
{{- if include "ferrolb.imageIsMetallbs" . -}}
{{- $own = omit $own "repository" "tag" -}}
{{- end -}}
{{- $repository := $own.repository | default $root.Values.image.repository -}}
{{- $tag := $own.tag | default $root.Values.image.tag | default $root.Chart.AppVersion -}}
image: {{ printf "%s:%s" $repository $tag }}
imagePullPolicy: {{ $own.pullPolicy | default $root.Values.image.pullPolicy | default "IfNotPresent" }}
{{- end -}}

{{/* The Secret with the key that seals what the speakers tell each other. */}}
{{- define "ferrolb.gossipSecret" -}}
{{- .Values.speaker.secretName | default (printf "%s-gossip" (include "ferrolb.fullname" .)) -}}
{{- end -}}

{{/* The address and port that a part gossips on, if it is not the default. Call with (list $ "speaker"). */}}
{{- define "ferrolb.gossipBind" -}}
{{- $memberlist := (index . 0).Values.speaker.memberlist -}}
{{- $address := ternary $memberlist.mlBindAddrOverride "" (eq (index . 1) "speaker") -}}
{{- if contains ":" ($address | default "") -}}
{{- printf "[%s]:%d" $address (int $memberlist.mlBindPort) -}}
{{- else if $address -}}
{{- printf "%s:%d" $address (int $memberlist.mlBindPort) -}}
{{- else if or (eq (index . 1) "controller") (ne (int $memberlist.mlBindPort) 7946) -}}
{{- printf "$(FERROLB_POD_IP):%d" (int $memberlist.mlBindPort) -}}
{{- end -}}
{{- end -}}

{{/* What is equal in the Pods of both parts, at the level of the template. Call with (list $ "speaker"). */}}
{{- define "ferrolb.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
labels:
  {{- include "ferrolb.selectorLabels" . | nindent 2 }}
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

{{/* What is equal in the specs of both Pods. Call with (list $ "speaker"). */}}
{{- define "ferrolb.podSpec" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "ferrolb.serviceAccountName" . }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: 10
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
{{- with $part.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $part.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Arguments that both programs take. Call with (list $ "speaker"). */}}
{{- define "ferrolb.arguments" -}}
{{- $root := index . 0 -}}
- {{ index . 1 }}
- --log-level={{ (index $root.Values (index . 1)).logLevel | default "info" }}
- --http-bind=[::]:{{ $root.Values.prometheus.metricsPort }}
{{- with $root.Values.loadBalancerClass }}
- --lb-class={{ . }}
{{- end }}
{{- end -}}

{{/* Environment that both programs take. Call with (list $ "speaker"). */}}
{{- define "ferrolb.environment" -}}
{{- $memberlist := (index . 0).Values.speaker.memberlist -}}
- name: FERROLB_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: FERROLB_POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: FERROLB_POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
{{- if (index . 0).Values.ignoreMetallb }}
- name: FERROLB_IGNORE_METALLB
  value: "true"
{{- end }}
{{- if or (eq (index . 1) "speaker") (index . 0).Values.controller.recoverEndpoints }}
# The first seals, all open. A file that is missing counts as none.
- name: FERROLB_GOSSIP_KEY_FILE
  value: {{ printf "%s/secretkey,%s/previous" $memberlist.mlSecretKeyPath $memberlist.mlSecretKeyPath }}
{{- with include "ferrolb.gossipBind" . }}
- name: FERROLB_POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: FERROLB_GOSSIP_BIND
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Ports, probes, mounts and resources of a program that gossips or does not, "true" or nothing.
     Call with (list $ "speaker" "true"). */}}
{{- define "ferrolb.container" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- $gossips := index . 2 -}}
ports:
  - name: monitoring
    containerPort: {{ $root.Values.prometheus.metricsPort }}
  {{- if $gossips }}
  - name: gossip
    containerPort: {{ $root.Values.speaker.memberlist.mlBindPort }}
    protocol: UDP
  {{- end }}
{{- range $probe, $path := dict "livenessProbe" "/healthz" "readinessProbe" "/readyz" }}
{{- $settings := index $part $probe }}
{{- if $settings.enabled }}
{{ $probe }}:
  httpGet: {path: {{ $path }}, port: monitoring}
  {{- /* The API server drops a zero, and then GitOps tools would see a difference for ever. */}}
  {{- $zero := ternary "" "initialDelaySeconds" (gt (int $settings.initialDelaySeconds) 0) }}
  {{- omit $settings "enabled" "port" $zero | toYaml | nindent 2 }}
{{- end }}
{{- end }}
{{- with $part.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $gossips }}
volumeMounts:
  - name: gossip-key
    mountPath: {{ $root.Values.speaker.memberlist.mlSecretKeyPath }}
    readOnly: true
{{- end }}
{{- end -}}

{{/* The volume with the keys of the gossip. Kubelet starts no speaker before there is a key. The controller must start,
     for it makes the key. The programs read the keys again when they change. Call with (list $ "speaker"). */}}
{{- define "ferrolb.gossipVolume" -}}
{{- $secret := include "ferrolb.gossipSecret" (index . 0) -}}
volumes:
  - name: gossip-key
    projected:
      defaultMode: 0444
      sources:
        - secret:
            name: {{ $secret }}
            items: [{key: secretkey, path: secretkey}]
            optional: {{ eq (index . 1) "controller" }}
        # There while keys are rotated.
        - secret:
            name: {{ $secret }}
            items: [{key: previous, path: previous}]
            optional: true
{{- end -}}

{{/* Values of MetalLB's chart that are set and mean nothing here, a line for each. */}}
{{- define "ferrolb.withoutMeaning" -}}
{{- range .Files.Get "files/metallb-values.yaml" | fromYamlArray }}
{{- $found := dict "value" $.Values }}
{{- range splitList "." .path }}
{{- $value := $found.value }}
{{- $_ := set $found "value" (and (kindIs "map" $value) (get $value .)) }}
{{- if and (kindIs "map" $value) (not (hasKey $value .)) }}{{- $_ := set $found "value" nil }}{{- end }}
{{- end }}
{{- $known := and (hasKey . "unless") (eq (toString .unless) (toString $found.value)) }}
{{- if not (or $known (kindIs "invalid" $found.value) (and (kindIs "string" $found.value) (not $found.value))) }}
- {{ .path }}: {{ .why }}
{{- end }}
{{- end }}
{{- range $part := list "controller" "speaker" }}
{{- if include "ferrolb.imageIsMetallbs" (list $ $part) }}
- {{ $part }}.image: this is an image of MetalLB; used is {{ include "ferrolb.image" (list $ $part) | fromYaml | dig "image" "" }}
{{- end }}
{{- end }}
{{- end -}}

{{/* What to scrape, with the settings of prometheus.podMonitor or serviceMonitor. */}}
{{- define "ferrolb.endpoint" -}}
port: monitoring
path: /metrics
honorLabels: true
{{- with .interval }}
interval: {{ . }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The labels of an alert. */}}
{{- define "ferrolb.alertLabels" -}}
{{- with .labels }}
          labels:
            {{- toYaml . | nindent 12 }}
{{- end }}
{{- end -}}
