# Fetches published checkpoints from Hugging Face, or trains the small ones that the program carries:
#
#     make -f weights.mk front offline
#     make -f weights.mk lite
#
# Interrupted downloads resume where they stopped, and a file is kept only if its SHA-256 is the one
# that the repository's LFS pointer gives.

BASE      = https://huggingface.co
REVISION  = main
DEST      = $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/spatrack/weights
SPATRACK  = spatrack
CURL      = curl --fail --silent --show-error --location --retry 3 --retry-delay 2

MODELS    = front offline online sam-base sam-large sam-huge
front     = Yuxihenry/SpatialTrackerV2_Front
offline   = Yuxihenry/SpatialTrackerV2-Offline
online    = Yuxihenry/SpatialTrackerV2-Online
sam-base  = facebook/sam-vit-base
sam-large = facebook/sam-vit-large
sam-huge  = facebook/sam-vit-huge

# The recipe of the embedded weights: Python packages in src/lite, whose programs run as
# PYTHONPATH=src/lite python3 -m front.train --help. Everything goes on where it was stopped.
PYTHON      = python3
LITE        = $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/spatrack/lite
LITE_CLIPS  = 1200
LITE_HELD   = 40
LITE_PHOTOS = $(if $(wildcard $(LITE)/photos/sources.txt),--photos '$(LITE)/photos')
LITE_RECIPE = src/lite
LITE_RUN    = PYTHONPATH='$(LITE_RECIPE)'"$${PYTHONPATH:+:$$PYTHONPATH}" $(PYTHON) -m

.PHONY: help lite lite-recipe lite-photos lite-clips lite-tracker lite-front lite-sam $(MODELS)

help:
	@echo 'make -f weights.mk MODEL...   (models: $(MODELS))'
	@echo
	@echo 'front 4.6 GB, offline and online 264 MB each; sam-base 375 MB, -large 1.3 GB, -huge 2.6 GB.'
	@echo 'spatrack needs front and offline (online instead, for --mode online).'
	@echo
	@echo 'lite                trains the weights in src/lite from seeds: many hours; make -j2 for two cores'
	@echo 'lite-photos         before lite, on Debian: photographs for half of the clips (800 MB to download)'
	@echo 'LITE=DIR            where its clips (17 GB) and its state are kept ($(LITE))'
	@echo 'PYTHON=PYTHON       an interpreter with torch and opencv, for lite ($(PYTHON))'
	@echo
	@echo 'DEST=DIR            where the models go ($(DEST))'
	@echo 'REVISION=COMMIT     which revision of them (main); REVISION_front=COMMIT for one model'
	@echo 'BASE=URL            where they come from ($(BASE))'
	@echo 'SPATRACK=PROGRAM    the program, which makes compact copies of front and SAM if there is a GPU ($(SPATRACK))'

# $(call revision,MODEL), $(call url,MODEL,resolve|raw,FILE)
revision = $(or $(REVISION_$(1)),$(REVISION))
url      = $(BASE)/$($(1))/$(2)/$(call revision,$(1))/$(3)

# model.sha256 holds the SHA-256 that model.safetensors was verified to have. config.json and README.md
# may be missing on the server.
define fetch
set -eu; umask 022; folder='$(DEST)/$(1)'; mkdir -p "$$folder"; cd "$$folder"; \
fail() { echo "weights.mk: $(1): $$1" >&2; exit 1; }; \
$(CURL) -o pointer.part '$(call url,$(1),raw,model.safetensors)' || \
    fail 'cannot fetch $(call url,$(1),raw,model.safetensors)'; \
sum=$$(sed -n 's/^oid sha256:\([0-9a-f]\{64\}\)$$/\1/p' pointer.part); rm -f pointer.part; \
test -n "$$sum" || fail 'the server gave no LFS pointer for model.safetensors'; \
for file in README.md config.json; do \
    rm -f "$$file.part"; \
    status=$$($(CURL) -o "$$file.part" -w '%{http_code}' "$(call url,$(1),resolve,)$$file" 2> /dev/null) || true; \
    case $$status in 200) mv "$$file.part" "$$file";; 404) rm -f "$$file.part" "$$file";; \
    *) rm -f "$$file.part"; fail "cannot fetch $$file (status $$status)";; esac; \
done; \
licence=$$(sed -n '/^---$$/,/^---$$/s/^license: *//p' README.md 2> /dev/null | head -n 1); \
echo "$(1): licence of $($(1)): $${licence:-not stated}; read $(BASE)/$($(1))"; \
if test -f model.safetensors && test "$$(cat model.sha256 2> /dev/null)" = "$$sum"; then \
    echo "$(1): $$folder is up to date"; exit 0; fi; \
test "$$(cat part.sha256 2> /dev/null)" = "$$sum" || rm -f model.safetensors.part; \
echo "$$sum" > part.sha256; \
$(CURL) --continue-at - -o model.safetensors.part '$(call url,$(1),resolve,model.safetensors)' || \
    fail 'the download stopped; make again goes on with it'; \
got=$$(sha256sum model.safetensors.part | cut -d ' ' -f 1); \
if test "$$got" != "$$sum"; then rm -f model.safetensors.part part.sha256; \
    fail "the file has SHA-256 $$got instead of $$sum and was removed; make again"; fi; \
rm -f model.sha256; mv model.safetensors.part model.safetensors; mv part.sha256 model.sha256; \
echo "$(1): $$folder/model.safetensors, SHA-256 $$sum"
endef

# The compact copy that a GPU reads, made once, if the program finds a GPU.
define prepare
if test '$(1)' != offline && test '$(1)' != online && $(SPATRACK) --info 2> /dev/null | grep -q '^cuda [0-9].* GB'; then \
    $(SPATRACK) --prepare --weights '$(DEST)'; fi
endef

$(MODELS):
	@$(call fetch,$@)
	@$(call prepare,$@)

lite: lite-tracker lite-front lite-sam

lite-recipe:
	@test -d '$(LITE_RECIPE)' || { echo 'weights.mk: $(LITE_RECIPE): not there; lite needs a checkout' >&2; exit 1; }

lite-photos: | lite-recipe
	$(LITE_RUN) world.photos '$(LITE)/photos'

# Seeds from 900000 on are kept aside. No compiler tells make what .incbin includes: hence touch.
lite-clips: | lite-recipe
	$(LITE_RUN) world.clips '$(LITE)/clips/held' --first 900000 --count $(LITE_HELD)
	$(LITE_RUN) world.clips '$(LITE)/clips/train' --first 0 --count $(LITE_CLIPS)
	$(LITE_RUN) world.clips '$(LITE)/clips/train' --first 10000 --count $(LITE_CLIPS) $(LITE_PHOTOS)

lite-tracker: lite-clips
	$(LITE_RUN) tracker.features --clips '$(LITE)/clips' --state '$(LITE)/tracker'
	$(LITE_RUN) tracker.train --clips '$(LITE)/clips' --state '$(LITE)/tracker'
	$(LITE_RUN) tracker.export --clips '$(LITE)/clips' --state '$(LITE)/tracker'
	touch $(LITE_RECIPE)/embedded.c

lite-front: lite-clips
	$(LITE_RUN) front.train '$(LITE)/front' --train '$(LITE)/clips/train' \
		--held '$(LITE)/clips/held'
	$(LITE_RUN) front.train '$(LITE)/front' --train '$(LITE)/clips/train' \
		--held '$(LITE)/clips/held' --export $(LITE_RECIPE)/front.safetensors
	touch $(LITE_RECIPE)/embedded.c

lite-sam: lite-clips
	$(LITE_RUN) sam.train --clips '$(LITE)/clips' --state '$(LITE)/sam'
	$(LITE_RUN) sam.train --clips '$(LITE)/clips' --state '$(LITE)/sam' \
		--export $(LITE_RECIPE)/sam.safetensors
	touch $(LITE_RECIPE)/embedded.c
