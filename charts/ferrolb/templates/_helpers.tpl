{{/* Makes the values what they mean: null is the default, at every level. Each template begins with it, so that the others
     need no defaults of their own. */}}
{{- define "ferrolb.init" -}}
{{- $values := deepCopy .Values -}}
{{- include "ferrolb.withoutNulls" $values -}}
{{- include "ferrolb.complete" (list $values (.Files.Get "files/defaults.yaml" | fromYaml)) -}}
{{- $_ := set . "Values" $values -}}
{{- end -}}

{{/* Takes all nulls out of a map. */}}
{{- define "ferrolb.withoutNulls" -}}
{{- $map := . -}}
{{- range $key, $value := $map -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $map $key -}}
{{- else if kindIs "map" $value -}}
{{- include "ferrolb.withoutNulls" $value -}}
{{- else if kindIs "slice" $value -}}
{{- $_ := set $map $key (without $value nil) -}}
{{- range $item := $value -}}
{{- if kindIs "map" $item -}}{{- include "ferrolb.withoutNulls" $item -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Puts into a map what it lacks of another, at every level. Call with (list map other). */}}
{{- define "ferrolb.complete" -}}
{{- $map := index . 0 -}}
{{- range $key, $default := index . 1 -}}
{{- if not (hasKey $map $key) -}}
{{- $_ := set $map $key $default -}}
{{- else if and (kindIs "map" $default) (kindIs "map" (get $map $key)) -}}
{{- include "ferrolb.complete" (list (get $map $key) $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A scalar as text. YAML reads a whole number as a floating one, which would be written with an exponent. */}}
{{- define "ferrolb.text" -}}
{{- if not (kindIs "float64" .) -}}{{- . -}}
{{- else if eq (floor .) . -}}{{- int64 . -}}
{{- else -}}{{- . -}}
{{- end -}}
{{- end -}}

{{/* Labels or annotations: some maps as one, in which each key is once. Of several values the first counts.
     Call with a list of maps. */}}
{{- define "ferrolb.texts" -}}
{{- $texts := dict -}}
{{- range $map := reverse . -}}
{{- range $key, $value := $map -}}
{{- $_ := set $texts $key (include "ferrolb.text" $value) -}}
{{- end -}}
{{- end -}}
{{- toYaml $texts -}}
{{- end -}}

{{/* Any text as the value of a label: up to 63 letters, digits, `-`, `_` and `.`, the first and the last a letter or
     digit. */}}
{{- define "ferrolb.labelValue" -}}
{{- regexReplaceAll "[^A-Za-z0-9._-]" . "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/* The prefix of the names of objects: "ferrolb" for a release of that name. It is good for every kind of object, those of
     Services being the strictest, and it has "ferrolb" in it, so that with the values of MetalLB's chart, and beside
     MetalLB, nothing gets the name of an object of MetalLB's. */}}
{{- define "ferrolb.fullname" -}}
{{- $chart := .Values.nameOverride | default .Chart.Name -}}
{{- $name := printf "%s-%s" .Release.Name $chart -}}
{{- if .Values.fullnameOverride -}}
{{- $name = .Values.fullnameOverride -}}
{{- else if contains $chart .Release.Name -}}
{{- $name = .Release.Name -}}
{{- end -}}
{{- $name = regexReplaceAll "[^a-z0-9-]" (lower $name) "-" | trunc 50 | trimAll "-" -}}
{{- if not (contains "ferrolb" $name) -}}
{{- $name = printf "%s-ferrolb" ($name | trunc 42 | trimAll "-") | trimAll "-" -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
{{- $name = printf "r%s" $name | trunc 50 | trimAll "-" -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* What selects the Pods of a part. Speakers find each other by the first two, so no value changes them.
     Call with (list $ "speaker"). */}}
{{- define "ferrolb.selectorLabels" -}}
app.kubernetes.io/name: ferrolb
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
{{- end -}}

{{/* Labels of everything that belongs to a part. Call with (list $ "speaker"). */}}
{{- define "ferrolb.labels" -}}
{{ include "ferrolb.selectorLabels" . }}
{{- with include "ferrolb.labelValue" (toString (index . 0).Chart.AppVersion) }}
app.kubernetes.io/version: {{ . | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | include "ferrolb.labelValue" | quote }}
{{- end -}}

{{/* The same, and further ones of the user's. Call with (list $ "speaker" labels). */}}
{{- define "ferrolb.labelsAnd" -}}
{{- include "ferrolb.texts" (list (include "ferrolb.labels" . | fromYaml) (index . 2)) -}}
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

{{/* Whether the image of a part is one of MetalLB's, as in a values file that was written for its chart: "true" or nothing.
     Mirrors have names of their own (rancher/mirrored-metallb-controller, REGISTRY/x/metallb_speaker), so its own name
     may be anywhere in theirs, or only the part's. Call with (list $ "speaker"). */}}
{{- define "ferrolb.imageIsMetallbs" -}}
{{- $repository := (index (index . 0).Values (index . 1)).image.repository | default "" | lower -}}
{{- $name := $repository | splitList "@" | first | splitList "/" | last | splitList ":" | first -}}
{{- if not (contains "ferrolb" $repository) -}}
{{- if or (contains "metallb" $name) (has $name (list "controller" "speaker")) -}}true{{- end -}}
{{- end -}}
{{- end -}}

{{/* The image of a part, with its pull policy. Call with (list $ "speaker"). */}}
{{- define "ferrolb.image" -}}
{{- $root := index . 0 -}}
{{- $own := (index $root.Values (index . 1)).image -}}
{{- if include "ferrolb.imageIsMetallbs" . -}}
{{- $own = omit $own "repository" "tag" -}}
{{- end -}}
{{- $image := $own.repository | default $root.Values.image.repository -}}
{{- /* A tag holds no `+`; Helm itself puts a `_` in its place. */}}
{{- $version := $root.Chart.AppVersion | default $root.Chart.Version | toString -}}
{{- $version = regexReplaceAll "[^A-Za-z0-9_.-]" $version "_" | trunc 128 -}}
{{- $tag := $own.tag | default $root.Values.image.tag | default $version -}}
{{- /* Either may bring a digest, and the repository a tag. */}}
{{- if regexMatch "^[a-z0-9]+:" $tag | and (not (contains "@" $image)) -}}
{{- $image = printf "%s@%s" $image $tag -}}
{{- else if not (regexMatch "[:@][^/]*$" $image) -}}
{{- $image = printf "%s:%s" $image $tag -}}
{{- end -}}
image: {{ $image | quote }}
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
{{- $scraped := dict "prometheus.io/scrape" "true" "prometheus.io/port" $root.Values.prometheus.metricsPort -}}
{{- if $root.Values.prometheus.secure -}}{{- $_ := set $scraped "prometheus.io/scheme" "https" -}}{{- end -}}
{{- $annotations := list $part.podAnnotations (ternary $scraped dict $root.Values.prometheus.scrapeAnnotations) -}}
labels:
  {{- include "ferrolb.texts" (list (include "ferrolb.selectorLabels" . | fromYaml) $part.labels) | nindent 2 }}
{{- if without $annotations dict }}
annotations:
  {{- include "ferrolb.texts" $annotations | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The security context of a Pod: what is an empty text there is left out, so that a default can be taken away.
     Call with (list $ "speaker"). */}}
{{- define "ferrolb.securityContext" -}}
{{- $context := dict -}}
{{- range $key, $value := (index (index . 0).Values (index . 1)).securityContext -}}
{{- if not (and (kindIs "string" $value) (eq (toString $value) "")) -}}{{- $_ := set $context $key $value -}}{{- end -}}
{{- end -}}
{{- if $context -}}{{- toYaml $context -}}{{- end -}}
{{- end -}}

{{/* What is equal in the specs of both Pods. Call with (list $ "speaker"). */}}
{{- define "ferrolb.podSpec" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "ferrolb.serviceAccountName" . | quote }}
automountServiceAccountToken: true
enableServiceLinks: false
terminationGracePeriodSeconds: 10
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "ferrolb.securityContext" . }}
securityContext:
  {{- . | nindent 2 }}
{{- end }}
{{- with $part.nodeSelector }}
nodeSelector:
  {{- include "ferrolb.texts" (list .) | nindent 2 }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with $part.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with $part.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The Secret with the certificate of a part's metrics, if there is to be one. Call with (list $ "speaker"). */}}
{{- define "ferrolb.metricsSecret" -}}
{{- $values := (index . 0).Values -}}
{{- if $values.prometheus.secure -}}{{- get $values.tls (printf "%sMetricsTLSSecret" (index . 1)) -}}{{- end -}}
{{- end -}}

{{/* Arguments that both programs take. Call with (list $ "speaker"). */}}
{{- define "ferrolb.arguments" -}}
{{- $root := index . 0 -}}
- {{ index . 1 }}
- --log-level={{ (index $root.Values (index . 1)).logLevel }}
{{- if $root.Values.prometheus.secure }}
{{- if eq (int (index $root.Values (index . 1)).livenessProbe.port) (int $root.Values.prometheus.metricsPort) }}
{{- fail (printf "%s.livenessProbe.port and prometheus.metricsPort are the same: probes and metrics want a port each" (index . 1)) }}
{{- end }}
- --http-bind=[::]:{{ int (index $root.Values (index . 1)).livenessProbe.port }}
- --metrics-bind=[::]:{{ int $root.Values.prometheus.metricsPort }}
{{- if include "ferrolb.metricsSecret" . }}
- --metrics-cert-dir=/etc/metrics
{{- end }}
{{- range $option, $value := dict "min-version" "minVersion" "cipher-suites" "cipherSuites" "curve-preferences" "curvePreferences" }}
{{- with get $root.Values.tls $value }}
- {{ printf "--tls-%s=%s" $option (include "ferrolb.text" .) | quote }}
{{- end }}
{{- end }}
{{- else }}
- --http-bind=[::]:{{ int $root.Values.prometheus.metricsPort }}
{{- end }}
{{- with $root.Values.loadBalancerClass }}
- {{ printf "--lb-class=%s" . | quote }}
{{- end }}
{{- end -}}

{{/*
Stops an installation beside another release whose controller serves the same Services: each would take away the addresses
that the other gives. Whose release that is, the definitions of the resources tell. What tools render without a cluster stays
as it is.
*/}}
{{- define "ferrolb.alone" -}}
{{- $root := . -}}
{{- $live := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "ipaddresspools.metallb.io" -}}
{{- $owner := dig "metadata" "annotations" dict $live -}}
{{- $name := get $owner "meta.helm.sh/release-name" -}}
{{- $namespace := get $owner "meta.helm.sh/release-namespace" -}}
{{- if and .Release.IsInstall $name $namespace (ne (list $name $namespace | toJson) (list .Release.Name .Release.Namespace | toJson)) -}}
{{- range $deployment := get (lookup "apps/v1" "Deployment" $namespace "") "items" -}}
{{- $labels := dig "metadata" "labels" dict $deployment -}}
{{- $ours := and (eq (get $labels "app.kubernetes.io/name") "ferrolb") (eq (get $labels "app.kubernetes.io/component") "controller") -}}
{{- if and $ours (eq (get $labels "app.kubernetes.io/instance") $name) (not $deployment.metadata.deletionTimestamp) -}}
{{- $class := "" -}}
{{- range $container := $deployment.spec.template.spec.containers -}}
{{- range $argument := $container.args -}}
{{- if hasPrefix "--lb-class=" $argument -}}{{- $class = trimPrefix "--lb-class=" $argument -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $class (toString $root.Values.loadBalancerClass) -}}
{{- fail (printf "FerroLB runs already, as release %s in namespace %s, and serves the same Services: each of the two would take away the addresses that the other gives. Upgrade that one (helm upgrade %s -n %s), or uninstall it first, or give this one a class of its own (loadBalancerClass)" $name $namespace $name $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether the controller listens to the gossip of the speakers, "true" or nothing. */}}
{{- define "ferrolb.controllerGossips" -}}
{{- $controller := .Values.controller -}}
{{- if or $controller.recoverEndpoints (and $controller.nodeAddressPools.enabled .Values.speaker.enabled) }}true{{ end -}}
{{- end -}}

{{/* Environment that both programs take. Call with (list $ "speaker"). */}}
{{- define "ferrolb.environment" -}}
{{- $memberlist := (index . 0).Values.speaker.memberlist -}}
- name: FERROLB_NAMESPACE
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}
- name: FERROLB_POD_NAME
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}
- name: FERROLB_POD_UID
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.uid}}
{{- if (index . 0).Values.ignoreMetallb }}
- name: FERROLB_IGNORE_METALLB
  value: "true"
{{- end }}
{{- if or (eq (index . 1) "speaker") (include "ferrolb.controllerGossips" (index . 0)) }}
# The first seals, all open. A file that is missing counts as none.
- name: FERROLB_GOSSIP_KEY_FILE
  value: {{ printf "%s/secretkey,%s/previous" $memberlist.mlSecretKeyPath $memberlist.mlSecretKeyPath | quote }}
{{- with include "ferrolb.gossipBind" . }}
- name: FERROLB_POD_IP
  valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.podIP}}
- name: FERROLB_GOSSIP_BIND
  value: {{ . | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* How many speakers a DaemonSet starts before it ends others, or nothing where it ends one first. Ports that a Pod of the node's
     network declares are the node's, and two Pods with the same are not let on one node: where there are to be two, none are
     declared. Call with (list $ "speaker"). */}}
{{- define "ferrolb.maxSurge" -}}
{{- $strategy := (index . 0).Values.speaker.updateStrategy -}}
{{- if eq (index . 1) "speaker" | and (eq (toString $strategy.type) "RollingUpdate") -}}
{{- $surge := include "ferrolb.text" (dig "rollingUpdate" "maxSurge" "" $strategy) -}}
{{- if not (has $surge (list "" "0" "0%")) -}}{{- $surge -}}{{- end -}}
{{- end -}}
{{- end -}}

{{/* Ports, probes, mounts and resources of a program that gossips or does not, "true" or nothing.
     Call with (list $ "speaker" "true"). */}}
{{- define "ferrolb.container" -}}
{{- $root := index . 0 -}}
{{- $part := index $root.Values (index . 1) -}}
{{- $gossips := index . 2 -}}
{{- $surges := include "ferrolb.maxSurge" . -}}
{{- if not $surges -}}
ports:
  - name: monitoring
    containerPort: {{ int $root.Values.prometheus.metricsPort }}
  {{- if $root.Values.prometheus.secure }}
  - name: probes
    containerPort: {{ int $part.livenessProbe.port }}
  {{- end }}
  {{- if $gossips }}
  - name: gossip
    containerPort: {{ int $root.Values.speaker.memberlist.mlBindPort }}
    protocol: UDP
  {{- end }}
{{- end }}
{{- $port := ternary "probes" "monitoring" $root.Values.prometheus.secure }}
{{- if $surges }}
{{- $port = int (ternary $part.livenessProbe.port $root.Values.prometheus.metricsPort $root.Values.prometheus.secure) }}
{{- end }}
{{- range $probe, $path := dict "livenessProbe" "/healthz" "readinessProbe" "/readyz" }}
{{- $settings := index $part $probe }}
{{- if $settings.enabled }}
{{ $probe }}:
  httpGet: {path: {{ $path }}, port: {{ $port }}}
  {{- /* The API server drops a zero, and then GitOps tools would see a difference for ever. */}}
  {{- $zero := ternary "" "initialDelaySeconds" (gt (int $settings.initialDelaySeconds) 0) }}
  {{- omit $settings "enabled" "port" $zero | toYaml | nindent 2 }}
{{- end }}
{{- end }}
{{- with $part.resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $certified := include "ferrolb.metricsSecret" . }}
{{- if or $gossips $certified }}
volumeMounts:
  {{- if $gossips }}
  - name: gossip-key
    mountPath: {{ $root.Values.speaker.memberlist.mlSecretKeyPath | quote }}
    readOnly: true
  {{- end }}
  {{- if $certified }}
  - name: metrics-certificate
    mountPath: /etc/metrics
    readOnly: true
  {{- end }}
{{- end }}
{{- end -}}

{{/* The volumes of a Pod that gossips or does not, "true" or nothing. A certificate that is not there is no reason not to
     start. Call with (list $ "speaker" "true"). */}}
{{- define "ferrolb.volumes" -}}
{{- $certificate := include "ferrolb.metricsSecret" . -}}
{{- if or (index . 2) $certificate }}
volumes:
  {{- if index . 2 }}
  {{- include "ferrolb.gossipVolume" . | nindent 2 }}
  {{- end }}
  {{- with $certificate }}
  - name: metrics-certificate
    secret:
      secretName: {{ . | quote }}
      defaultMode: 0444
      optional: true
  {{- end }}
{{- end }}
{{- end -}}

{{/* The volume with the keys of the gossip. Kubelet starts no speaker before there is a key. The controller must start,
     for it makes the key. The programs read the keys again when they change. Call with (list $ "speaker"). */}}
{{- define "ferrolb.gossipVolume" -}}
{{- $secret := include "ferrolb.gossipSecret" (index . 0) -}}
- name: gossip-key
  projected:
    defaultMode: 0444
    sources:
      - secret:
          name: {{ $secret | quote }}
          items: [{key: secretkey, path: secretkey}]
          optional: {{ eq (index . 1) "controller" }}
      # There while keys are rotated.
      - secret:
          name: {{ $secret | quote }}
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

{{/* What to scrape, with the settings of prometheus.podMonitor or serviceMonitor.
     Call with (list $ "speaker" settings "Pod") or "Service". */}}
{{- define "ferrolb.endpoint" -}}
{{- $surges := include "ferrolb.maxSurge" (list (index . 0) (index . 1)) -}}
{{- $port := int (index . 0).Values.prometheus.metricsPort -}}
{{- $monitor := index . 2 -}}
{{- if not (and $surges (eq (index . 3) "Pod")) -}}
port: monitoring
{{ end -}}
path: /metrics
honorLabels: true
{{- with $monitor.interval }}
interval: {{ . | quote }}
{{- end }}
{{- with $monitor.metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- $relabelings := list }}
{{- if and $surges (eq (index . 3) "Pod") }}
{{- /* The Pods declare no port that a target could be made of. */}}
{{- $v4 := dict "sourceLabels" (list "__meta_kubernetes_pod_ip") "regex" "([0-9.]+)" "targetLabel" "__address__" "replacement" (printf "$1:%d" $port) }}
{{- $v6 := dict "sourceLabels" (list "__meta_kubernetes_pod_ip") "regex" "(.*:.*)" "targetLabel" "__address__" "replacement" (printf "[$1]:%d" $port) }}
{{- $speaker := dict "sourceLabels" (list "__meta_kubernetes_pod_container_name") "regex" "speaker" "action" "keep" }}
{{- $relabelings = list $speaker $v4 $v6 }}
{{- end }}
{{- with concat $relabelings $monitor.relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* How to scrape what is secured. Call with (list $ "speaker" tlsConfig). */}}
{{- define "ferrolb.endpointSecurity" -}}
scheme: https
{{- with index . 2 }}
tlsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The right to ask the API server who may have metrics. */}}
{{- define "ferrolb.reviews" -}}
{{- if .Values.prometheus.secure -}}
# Who asks for metrics, and whether they may have them.
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end -}}
{{- end -}}

{{/* The labels of an alert. */}}
{{- define "ferrolb.alertLabels" -}}
{{- with .labels }}
  labels:
    {{- include "ferrolb.texts" (list .) | nindent 4 }}
{{- end }}
{{- end -}}
