-- Schema version 26, as commit 4453d384 wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "alert_mutes" ("rule" VARCHAR(255) NOT NULL PRIMARY KEY, "until" VARCHAR(255) NOT NULL, "uid" INTEGER) WITHOUT ROWID;
CREATE TABLE "alerts" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "rule" VARCHAR(255) NOT NULL, "subject" VARCHAR(255) NOT NULL, "raised_at" VARCHAR(255) NOT NULL, "last_at" VARCHAR(255) NOT NULL, "count" INTEGER NOT NULL, "cleared_at" VARCHAR(255), "told_at" VARCHAR(255), "end_told_at" VARCHAR(255), "told_count" INTEGER NOT NULL, "message" TEXT NOT NULL, "facts" TEXT NOT NULL, "acknowledged_at" VARCHAR(255), "acknowledged_uid" INTEGER);
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT, "crashes" INTEGER NOT NULL DEFAULT 0, "submitted_by_job" INTEGER, "schedule" VARCHAR(255), "occurrence" VARCHAR(255), "waits_for" INTEGER NOT NULL DEFAULT 0, "failed_before" INTEGER NOT NULL DEFAULT 0, "if_failed" VARCHAR(255), "cancelled_after" VARCHAR(255), "group_id" INTEGER, "takes" TEXT, "expires_at" VARCHAR(255), "unique_key" VARCHAR(255), "unique_while" VARCHAR(255), "key" VARCHAR(255), "turn" INTEGER NOT NULL DEFAULT 0, "waits_until" VARCHAR(255), "carries" INTEGER NOT NULL DEFAULT 0, "steps" INTEGER NOT NULL DEFAULT 0, "step_bytes" INTEGER NOT NULL DEFAULT 0, "life" INTEGER NOT NULL DEFAULT 0, "retry_count_at_submit" INTEGER NOT NULL DEFAULT 0, "waiting_on" VARCHAR(255), "emitted" INTEGER NOT NULL DEFAULT 0, "again_of" INTEGER, "review_since" VARCHAR(255), "settled_at" VARCHAR(255), "settled_uid" INTEGER, "host_wanted" VARCHAR(255), "traceparent" VARCHAR(255), "bulk" INTEGER, "labels" TEXT);
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T19:41:18.278002Z','2026-11-29T19:41:18.284247Z','2026-11-29T19:41:18.278002Z','2026-11-29T19:41:18.285834Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,215032,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T19:41:18.411238Z','2026-11-29T19:41:18.420640Z','2026-11-29T19:41:18.411238Z','2026-11-29T19:41:18.422008Z',NULL,'18ec9b750ae2f947-fc9f19aa355b945354c2c31cdc95a4c5',NULL,'ValueError: no',0,0,215041,1,'=db73b134d54a61b14617c25a61387057',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-30T05:41:18.574435Z','2026-11-29T19:41:18.563342Z',NULL,'2026-11-29T19:41:18.563342Z','2026-11-29T19:41:18.574435Z',NULL,'18ec9b7513f353f2-e1d9b9973f917304f5e6bc9dc94ef5a2',NULL,'ValueError: again',0,0,215043,0,'=28827d6b8c8b60041ef3a5415fb9634d',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-30T05:41:18.686261Z',NULL,NULL,'2026-11-29T19:41:18.686433Z','2026-11-29T19:41:18.686433Z',NULL,'18ec9b751b49ba84-98d3b2444438d29466fded3ecbe15470',NULL,NULL,0,0,215045,0,'=d939294671382e9877870cda3ad7070a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T19:41:18.965435Z','2026-11-29T19:41:18.965435Z',NULL,'18ec9b752be85a5e-38116ef9efa45f00957da9fd2d7a79a1',NULL,NULL,0,0,215048,1,'=cb5ca89fbfdffe3934accc069ed6df0a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-30T04:41:19.090744Z',NULL,'2026-11-29T19:41:19.213290Z','2026-11-29T19:41:19.090902Z','2026-11-29T19:41:19.213290Z','2026-11-29T19:41:19.213290Z','18ec9b753365b75b-cc474a0af3e7154723e79dbbe4f6870d',NULL,NULL,0,0,215049,0,'=5c1f5720a617aadcdfaf9c137da05b0b',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T19:41:19.339521Z',NULL,'2026-11-29T19:41:19.339521Z','2026-11-29T19:41:19.339521Z',NULL,'18ec9b754236b7df-5ad700b26910efa3e8d7d45f0021d537',NULL,NULL,0,0,215051,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T19:41:19.502329Z',NULL,'2026-11-29T19:41:19.502329Z','2026-11-29T19:41:20.690281Z','2026-11-29T19:41:20.690281Z','18ec9b754be83364-ea4124b93c6711e02d8d979a58953642',NULL,NULL,0,0,215052,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(9,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,NULL,NULL,'2026-11-29T19:41:19.640826Z','2026-11-29T19:41:19.640826Z',NULL,'18ec9b75542c7f14-b4e02ccc1fb01f005ec27943db7f596a',NULL,NULL,0,0,215053,2,'=50dc7ffd37ace2cac67cf70a76930690',NULL,0,NULL,NULL,NULL,1,0,'cancel',NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(10,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T21:41:19.763634Z',NULL,NULL,'2026-11-29T19:41:19.763807Z','2026-11-29T19:41:19.763807Z',NULL,'18ec9b755b7fc4ac-80891c3e542f04a77acf72add99e31e0',NULL,NULL,0,0,215054,0,'=0652d91481b5d49bdccb7c7f671e8e20',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,'2026-11-30T04:41:19.763634Z',NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(11,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T22:41:19.923154Z',NULL,NULL,'2026-11-29T19:41:19.923280Z','2026-11-29T19:41:19.923280Z',NULL,'18ec9b756502f08d-479ce26156e83f97b1d790663429d7c8',NULL,NULL,0,0,215055,0,'=f6b2fd7226af1329eb39663b5f76d75a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,'one','unfinished',NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(12,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',0,NULL,NULL,NULL,NULL,'2026-11-29T19:41:20.191393Z','2026-11-29T19:41:20.191393Z',NULL,'18ec9b7574ff4e41-399e2bb97354468e624ef60e3524d7bf',NULL,NULL,0,0,215057,1,'=caa3ae5278a0476fa4bd11a9397c94b5',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'customer',0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(13,'jobs.Example','order','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-30T19:41:20.319290Z','2026-11-29T19:41:20.310736Z',NULL,'2026-11-29T19:41:20.310736Z','2026-11-29T19:41:20.319290Z',NULL,'18ec9b757c1c519b-2fdc30bb915379c754dc31b07ecb2b6d',NULL,NULL,0,0,215058,4,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,1,1,10,0,0,'signal packed',0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(14,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T23:41:20.434103Z',NULL,NULL,'2026-11-29T19:41:20.434275Z','2026-11-29T19:41:20.434275Z',NULL,'18ec9b7583743070-84986bfd7109f4690fe6c2a5c1d13244',NULL,NULL,0,0,215059,0,'=ca741323bcb33f157be0bbfeb0991fee',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,'00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',NULL,NULL);
INSERT INTO "background_jobs" VALUES(15,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-30T00:41:20.566939Z',NULL,NULL,'2026-11-29T19:41:20.567067Z','2026-11-29T19:41:20.567067Z',NULL,'18ec9b758b6230d2-553a30964599c27d1a6b38a04604886d',NULL,NULL,0,0,215061,0,'=e0720a72438f523c4397fa5d473fa7ce',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,0,0,0,0,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'["tenant:7"]');
CREATE TABLE "changes" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "at" VARCHAR(255) NOT NULL,
        "kind" VARCHAR(255) NOT NULL, "what" TEXT NOT NULL, "who" TEXT);
INSERT INTO "changes" VALUES(1,'2026-11-29T19:41:17.826704Z','started','{"version":"0.1.0","host":null}',NULL);
INSERT INTO "changes" VALUES(2,'2026-11-29T19:41:17.838840Z','schedule_changed','{"did":"configured","schedules":["nightly"],"count":1}',NULL);
INSERT INTO "changes" VALUES(3,'2026-11-29T19:41:18.273852Z','loaded','{"code":"35a7a7ad8590","was":null,"host":null}',NULL);
INSERT INTO "changes" VALUES(4,'2026-11-29T19:41:18.812445Z','paused','{"queue":"held","until":null}','uid 0');
INSERT INTO "changes" VALUES(5,'2026-11-29T19:41:20.049758Z','paused','{"queue":"later","until":"2026-11-30T00:41:20.049643Z"}','uid 0');
CREATE TABLE "class_holds" ("class_name" VARCHAR(255) NOT NULL PRIMARY KEY, "reason" VARCHAR(255) NOT NULL, "code_version" VARCHAR(255), "since" VARCHAR(255), "message" TEXT, "jobs" TEXT NOT NULL, "crashes" INTEGER NOT NULL, "tries" INTEGER NOT NULL, "next_try_at" VARCHAR(255), "by_uid" INTEGER) WITHOUT ROWID;
CREATE TABLE "class_tallies" ("span" INTEGER NOT NULL, "at" VARCHAR(255) NOT NULL,
        "class_name" VARCHAR(255) NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL,
        "retried" INTEGER NOT NULL, "bad" TEXT NOT NULL, "seconds" BLOB NOT NULL, "waited" BLOB NOT NULL,
        "cpu" REAL NOT NULL, "memory" INTEGER NOT NULL, PRIMARY KEY ("span", "at", "class_name")) WITHOUT ROWID
    ;
CREATE TABLE "consequences" ("of" VARCHAR(255) NOT NULL, "id" INTEGER NOT NULL, "done_to" INTEGER NOT NULL, PRIMARY KEY ("of", "id")) WITHOUT ROWID;
CREATE TABLE "error_groups" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "fingerprint" VARCHAR(255) NOT NULL, "outcome" VARCHAR(255) NOT NULL, "error_type" TEXT, "message" TEXT, "place" TEXT, "line" TEXT, "class_name" VARCHAR(255) NOT NULL, "is_named" INTEGER NOT NULL, "name" TEXT, "first_at" VARCHAR(255) NOT NULL, "first_job" INTEGER NOT NULL, "first_version" VARCHAR(255), "last_at" VARCHAR(255) NOT NULL, "last_job" INTEGER NOT NULL, "last_attempt" INTEGER NOT NULL, "last_version" VARCHAR(255), "attempts" INTEGER NOT NULL, "failed" INTEGER NOT NULL, "back_at" VARCHAR(255));
INSERT INTO "error_groups" VALUES(1,'80dd394d2113eb48','failed','ValueError','again','jobs:Example.fail','jobs.py:13','jobs.Example',0,NULL,'2026-11-29T19:41:18.422008Z',2,'35a7a7ad8590','2026-11-29T19:41:18.574435Z',3,1,'35a7a7ad8590',2,1,NULL);
CREATE TABLE "error_tallies" ("error_group" INTEGER NOT NULL, "span" INTEGER NOT NULL,
        "at" VARCHAR(255) NOT NULL, "attempts" INTEGER NOT NULL, "failed" INTEGER NOT NULL,
        PRIMARY KEY ("error_group", "span", "at")) WITHOUT ROWID
    ;
CREATE TABLE "hosts" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "uuid" VARCHAR(255) NOT NULL, "name" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "term" INTEGER NOT NULL, "beats" INTEGER NOT NULL, "seen_at" VARCHAR(255) NOT NULL, "lost_after" REAL, "version" VARCHAR(255) NOT NULL, "schema" INTEGER NOT NULL, "code_version" VARCHAR(255), "slots" INTEGER NOT NULL, "queues" TEXT NOT NULL, "classes" TEXT NOT NULL, "clock_difference" REAL, "trouble" TEXT, "left_at" VARCHAR(255), "lost_at" VARCHAR(255), "drained_at" VARCHAR(255), "drained_by" TEXT, "rules" TEXT);
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, "spends_retry" INTEGER NOT NULL DEFAULT 1, "error_class" TEXT, "valued" INTEGER NOT NULL DEFAULT 0, "host" INTEGER, "error_group" INTEGER, "hook_host" INTEGER, "hook_called_at" VARCHAR(255), "waited" REAL, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'322c1fb51860f8d2','630362ad-e406-4242-9240-aab4a5daa537',215036,'2026-11-29T19:41:18.282132Z','2026-11-29T19:41:18.284247Z','completed',0,NULL,NULL,NULL,NULL,15933440,0.0,5.21799999999999954e-03,0,'35a7a7ad8590',NULL,0,1,NULL,0,NULL,NULL,NULL,NULL,0.0);
INSERT INTO "job_attempts" VALUES(2,1,'249c7728e37f1c08','630362ad-e406-4242-9240-aab4a5daa537',215042,'2026-11-29T19:41:18.415015Z','2026-11-29T19:41:18.420640Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',16089088,0.0,0.007949,0,'35a7a7ad8590',NULL,0,1,'builtins.ValueError',0,NULL,1,NULL,NULL,0.0);
INSERT INTO "job_attempts" VALUES(3,1,'6f05ac812bf5c3ff','630362ad-e406-4242-9240-aab4a5daa537',215044,'2026-11-29T19:41:18.567462Z','2026-11-29T19:41:18.573155Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',16138240,0.0,0.008006,0,'35a7a7ad8590',NULL,0,1,'builtins.ValueError',0,NULL,1,NULL,NULL,0.0);
INSERT INTO "job_attempts" VALUES(7,1,'7f841fb3363324be','630362ad-e406-4242-9240-aab4a5daa537',215046,'2026-11-29T19:41:19.344717Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'35a7a7ad8590',NULL,0,1,NULL,0,NULL,NULL,NULL,NULL,0.0);
INSERT INTO "job_attempts" VALUES(8,1,'a602c9de1689c6b1','630362ad-e406-4242-9240-aab4a5daa537',215040,'2026-11-29T19:41:19.506989Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'35a7a7ad8590',NULL,0,1,NULL,0,NULL,NULL,NULL,NULL,0.0);
INSERT INTO "job_attempts" VALUES(13,1,'08c8022a82d1f9cf','630362ad-e406-4242-9240-aab4a5daa537',215039,'2026-11-29T19:41:20.314498Z','2026-11-29T19:41:20.317913Z','suspended',0,NULL,NULL,NULL,NULL,16089088,0.003023,0.003023,0,'35a7a7ad8590',NULL,2,0,NULL,0,NULL,NULL,NULL,NULL,0.0);
CREATE TABLE "job_dependencies" ("job_id" INTEGER NOT NULL, "of" VARCHAR(255) NOT NULL, "after_id" INTEGER NOT NULL, "standing" INTEGER NOT NULL, PRIMARY KEY ("job_id", "of", "after_id")) WITHOUT ROWID;
INSERT INTO "job_dependencies" VALUES(9,'job',7,0);
CREATE TABLE "job_groups" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" VARCHAR(255), "since_id" INTEGER NOT NULL, "group_id" INTEGER, "total" INTEGER NOT NULL, "unfinished" INTEGER NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL, "cancelled" INTEGER NOT NULL, "sealed_at" VARCHAR(255), "ended_at" VARCHAR(255), "cancel_requested_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "idempotency_key" VARCHAR(255), "submitted_uid" INTEGER);
CREATE TABLE "job_labels" ("label" VARCHAR(255) NOT NULL, "job_id" INTEGER NOT NULL, PRIMARY KEY ("label", "job_id")) WITHOUT ROWID;
INSERT INTO "job_labels" VALUES('tenant:7',15);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T19:41:18.278002Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T19:41:18.278002Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T19:41:18.285834Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T19:41:18.285834Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T19:41:18.411238Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T19:41:18.411238Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T19:41:18.422008Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T19:41:18.422008Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T19:41:18.563342Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T19:41:18.563342Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T19:41:18.574435Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 05:41:18 UTC)',NULL,'2026-11-29T19:41:18.574435Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 05:41:18 UTC',NULL,'2026-11-29T19:41:18.574435Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:18.686433Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T19:41:18.965435Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.090902Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T19:41:19.213290Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.339521Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T19:41:19.339521Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.396789Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.502329Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T19:41:19.502329Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.558739Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,9,NULL,'success','Background job initiated','{"id":9,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.640826Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(25,9,NULL,'info','Background job waits for another',NULL,'2026-11-29T19:41:19.640826Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(26,10,NULL,'success','Background job initiated','{"id":10,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.763807Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(27,11,NULL,'success','Background job initiated','{"id":11,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:19.923280Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(28,12,NULL,'success','Background job initiated','{"id":12,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":0,"parameters":{}}','2026-11-29T19:41:20.191393Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(29,13,NULL,'success','Background job initiated','{"id":13,"class_name":"jobs.Example","method_name":"order","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:20.310736Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(30,13,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T19:41:20.310736Z',NULL,4);
INSERT INTO "job_logs" VALUES(31,13,1,'success','Background job started','{"id":13,"class_name":"jobs.Example","method_name":"order","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:20.319290Z',NULL,4);
INSERT INTO "job_logs" VALUES(32,13,1,'info','Background job waits for signal packed until 2026-11-30 19:41:20 UTC',NULL,'2026-11-29T19:41:20.319290Z',NULL,4);
INSERT INTO "job_logs" VALUES(33,14,NULL,'success','Background job initiated','{"id":14,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:20.434275Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(34,15,NULL,'success','Background job initiated','{"id":15,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T19:41:20.567067Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(35,8,1,'info','Background job cancel requested',NULL,'2026-11-29T19:41:20.690281Z',NULL,4);
CREATE TABLE "job_outputs" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "head" BLOB NOT NULL, "tail" BLOB NOT NULL, "left_out" INTEGER NOT NULL, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
CREATE TABLE "job_signals" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "name" VARCHAR(255) NOT NULL, "payload" TEXT, "key" VARCHAR(255), "sent_at" VARCHAR(255) NOT NULL, "uid" INTEGER, "taken_by" VARCHAR(255), PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
CREATE TABLE "job_states" ("job_id" INTEGER NOT NULL PRIMARY KEY, "value" TEXT NOT NULL, "attempt" INTEGER NOT NULL, "saved" INTEGER NOT NULL);
CREATE TABLE "job_steps" ("job_id" INTEGER NOT NULL, "kind" VARCHAR(255) NOT NULL, "name" VARCHAR(255) NOT NULL, "turn" INTEGER NOT NULL, "number" INTEGER, "attempt" INTEGER NOT NULL, "tries" INTEGER NOT NULL, "began_at" VARCHAR(255) NOT NULL, "finished_at" VARCHAR(255), "until" VARCHAR(255), "result" TEXT, "is_awaited" INTEGER NOT NULL, "timed_out" INTEGER NOT NULL, "unused_in" INTEGER, "by_uid" INTEGER, PRIMARY KEY ("job_id", "kind", "name", "turn")) WITHOUT ROWID;
INSERT INTO "job_steps" VALUES(13,'signal','packed',1,NULL,1,1,'2026-11-29T19:41:20.319290Z',NULL,'2026-11-30T19:41:20.319290Z',NULL,0,0,NULL,NULL);
INSERT INTO "job_steps" VALUES(13,'step','charge',1,1,1,1,'2026-11-29T19:41:20.316273Z','2026-11-29T19:41:20.316471Z',NULL,'{"paid":1}',0,0,NULL,NULL);
CREATE TABLE "job_values" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "ends" INTEGER NOT NULL, "attempt" INTEGER NOT NULL, "step" VARCHAR(255), "at" VARCHAR(255) NOT NULL, "value" TEXT NOT NULL, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
CREATE TABLE "method_usage" ("class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "seconds" BLOB NOT NULL, "memory" BLOB NOT NULL, "runs" INTEGER NOT NULL, "completed_at" VARCHAR(255) NOT NULL, "code_version" VARCHAR(255), PRIMARY KEY ("class_name", "method_name")) WITHOUT ROWID;
INSERT INTO "method_usage" VALUES('jobs.Example','work',X'0000000000000000000100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000',X'0000000000000000000000000000000000000000000000000000000000000000000100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000',1,'2026-11-29T19:41:18.285834Z','35a7a7ad8590');
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','70b7c586-865c-4ba3-a7c1-0a3de6e289f1');
CREATE TABLE "queue_tallies" ("span" INTEGER NOT NULL, "at" VARCHAR(255) NOT NULL, "queue" VARCHAR(255) NOT NULL,
        "pending" INTEGER NOT NULL, "running" INTEGER NOT NULL, "waited" REAL NOT NULL,
        PRIMARY KEY ("span", "at", "queue")) WITHOUT ROWID
    ;
CREATE TABLE "queue_turns" ("queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "turn" INTEGER NOT NULL, PRIMARY KEY ("queue", "priority")) WITHOUT ROWID;
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL, "resumes_at" VARCHAR(255));
INSERT INTO "queues" VALUES('held','2026-11-29T19:41:18.812445Z',NULL);
INSERT INTO "queues" VALUES('later','2026-11-29T19:41:20.049758Z','2026-11-30T00:41:20.049643Z');
CREATE TABLE "rates" ("scope" VARCHAR(255) NOT NULL PRIMARY KEY, "full_at" REAL NOT NULL, "held_until" REAL, "held_by" INTEGER) WITHOUT ROWID;
CREATE TABLE "schedule_occurrences" ("name" VARCHAR(255) NOT NULL, "at" VARCHAR(255) NOT NULL, "until" VARCHAR(255) NOT NULL, "count" INTEGER NOT NULL, "verdict" VARCHAR(255) NOT NULL, "reason" VARCHAR(255), "job_id" INTEGER, "dealt_at" VARCHAR(255) NOT NULL, PRIMARY KEY ("name", "at")) WITHOUT ROWID;
CREATE TABLE "schedules" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "definition" TEXT NOT NULL, "since" VARCHAR(255) NOT NULL, "cursor" VARCHAR(255) NOT NULL, "paused_at" VARCHAR(255), "removed_at" VARCHAR(255), "uid" INTEGER, "made_by" VARCHAR(255), "set_by" INTEGER);
INSERT INTO "schedules" VALUES('nightly','{"job":"jobs.Example::work","cron":"30 2 * * *","zone":"UTC"}','2026-11-29T19:41:17.838840Z','2026-11-29T19:41:17.838840Z',NULL,NULL,NULL,NULL,NULL);
CREATE TABLE "unique_keys" ("class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "key" VARCHAR(255) NOT NULL, "job_id" INTEGER NOT NULL, "held_until" VARCHAR(255), PRIMARY KEY ("class_name", "method_name", "key")) WITHOUT ROWID;
INSERT INTO "unique_keys" VALUES('jobs.Example','work','one',11,NULL);
CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0;
CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running';
CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL;
CREATE INDEX logs_job ON job_logs (job_id, id);
CREATE INDEX jobs_pending ON background_jobs (ready) WHERE status = 'pending' AND finished_at IS NULL;
CREATE INDEX logs_type ON job_logs (type) WHERE type <> 'success';
CREATE INDEX jobs_ended ON background_jobs (status, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_of_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_by_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX edges_after ON job_dependencies ("of", after_id, job_id);
CREATE INDEX jobs_of_group ON background_jobs (group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX groups_of_group ON job_groups (group_id, id) WHERE group_id IS NOT NULL;
CREATE UNIQUE INDEX groups_key ON job_groups (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX groups_unended ON job_groups (id) WHERE ended_at IS NULL;
CREATE INDEX jobs_expiring ON background_jobs (expires_at) WHERE status = 'pending' AND started_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX unique_keys_of ON unique_keys (job_id);
CREATE INDEX unique_keys_until ON unique_keys (held_until) WHERE held_until IS NOT NULL;
CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, turn, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, turn, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_key_running ON background_jobs (queue, key) WHERE key IS NOT NULL AND status = 'running';
CREATE INDEX jobs_key_ready ON background_jobs (queue, key, priority DESC, turn, id) WHERE key IS NOT NULL AND ready = 1 AND status = 'pending';
CREATE INDEX jobs_behind ON background_jobs (queue, key, priority DESC, turn, id) WHERE ready = 3 AND status = 'pending';
CREATE INDEX jobs_due_behind ON background_jobs (waits_until) WHERE waits_until IS NOT NULL AND ready = 3 AND status = 'pending';
CREATE INDEX jobs_turns ON background_jobs (queue, key, priority, turn) WHERE turn > 0 AND status = 'pending';
CREATE INDEX jobs_by_key ON background_jobs (key, id) WHERE key IS NOT NULL;
CREATE UNIQUE INDEX signals_key ON job_signals (job_id, key) WHERE key IS NOT NULL;
CREATE INDEX jobs_waiting ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 4 AND scheduled_at IS NOT NULL;
CREATE INDEX jobs_suspended ON background_jobs (id) WHERE status = 'pending' AND waiting_on IS NOT NULL;
CREATE INDEX jobs_again ON background_jobs (again_of) WHERE again_of IS NOT NULL;
CREATE INDEX jobs_for_review ON background_jobs (id) WHERE review_since IS NOT NULL;
CREATE UNIQUE INDEX hosts_uuid ON hosts (uuid);
CREATE INDEX attempts_of_host ON job_attempts (host, job_id, number) WHERE host IS NOT NULL AND outcome IS NULL;
CREATE UNIQUE INDEX errors_by_fingerprint ON error_groups (fingerprint);
CREATE INDEX errors_by_time ON error_groups (last_at, id);
CREATE INDEX errors_named ON error_groups (class_name, id) WHERE is_named = 1;
CREATE INDEX attempts_of_error ON job_attempts (error_group, job_id) WHERE error_group IS NOT NULL;
CREATE INDEX jobs_crashed ON background_jobs (finished_at) WHERE status = 'failed' AND crashes > 0;
CREATE UNIQUE INDEX "alerts_open" ON "alerts" ("rule", "subject") WHERE "cleared_at" IS NULL;
CREATE INDEX "alerts_untold" ON "alerts" ("id") WHERE "told_count" < 2;
CREATE INDEX "alerts_told" ON "alerts" ("told_at") WHERE "told_at" IS NOT NULL;
CREATE INDEX "alerts_end_told" ON "alerts" ("end_told_at") WHERE "end_told_at" IS NOT NULL;
CREATE INDEX hooks_owed ON job_attempts (hook_host, job_id, number) WHERE hook_host IS NOT NULL AND hook_called_at IS NULL;
CREATE INDEX "changes_by_time" ON "changes" ("at");
CREATE INDEX jobs_by_class ON background_jobs (class_name) WHERE id > 0;
CREATE INDEX jobs_of_bulk ON background_jobs (bulk) WHERE bulk IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('changes',5);
INSERT INTO "sqlite_sequence" VALUES('background_jobs',15);
INSERT INTO "sqlite_sequence" VALUES('error_groups',1);
COMMIT;
PRAGMA user_version = 26;
