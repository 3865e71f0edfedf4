BEGIN TRANSACTION;
CREATE TABLE event(
  run TEXT NOT NULL, id INTEGER NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL,
  data TEXT, PRIMARY KEY(run, id)) STRICT, WITHOUT ROWID;
INSERT INTO "event" VALUES('xjrag0x9',1,'run_started',1.79527556978984045984e+09,'run_started','{"cholfile":"/tmp/choline-corpus/Cholfile.lua","params":{"lr":0.10000000000000001},"seed":8894812987408224,"version":"0.1.0"}');
INSERT INTO "event" VALUES('xjrag0x9',2,'main.run.work.train/task_started#0',1.7952755697900526523e+09,'task_started','{"task":"train"}');
INSERT INTO "event" VALUES('xjrag0x9',3,'main.run.work.train.1/instance_rented#0',1.79527556989562249185e+09,'instance_rented','{"instance":"box","label":"box-1","price":0.5,"provider":"local","tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1"}');
INSERT INTO "event" VALUES('xjrag0x9',4,'main.run.work.train.1/instance_ready#0',1.79527557014203047753e+09,'instance_ready','{"instance":"box","label":"box-1","seconds":0.34245586395263672}');
INSERT INTO "event" VALUES('xjrag0x9',5,'main.run.work.train.1/sync_done#0',1.79527557015194320685e+09,'sync_done','{"bytes":607,"deleted":0,"files":1,"instance":"box","seconds":0.007717958998910035,"sync":"code"}');
INSERT INTO "event" VALUES('xjrag0x9',6,'main.run.work.train.1/setup_done#0',1.79527557026812839505e+09,'setup_done','{"instance":"box","seconds":0.10405373573303223,"task":"train"}');
INSERT INTO "event" VALUES('xjrag0x9',7,'main.run.work.train.1/attempt_started#0',1.79527557041967940334e+09,'attempt_started','{"attempt":1,"instance":"box","task":"train"}');
INSERT INTO "event" VALUES('xjrag0x9',8,'main.run.work.train/crashed#0',1.79527557055604672429e+09,'crashed','{"attempt":1,"code":3,"instance":"box","label":"box-1","lived":0.7580878734588623,"message":"task \"train\" ended with exit 3 after 0s","task":"train"}');
INSERT INTO "event" VALUES('xjrag0x9',9,'main.run.work.train/retrying#0',1.79527557055613136288e+09,'retrying','{"at":1795275570.6550252,"attempt":2,"task":"train","wait":0.10000000000000001,"why":"retry 1 of 2"}');
INSERT INTO "event" VALUES('xjrag0x9',10,'main.run.handlers/log#0',1.79527557056351566317e+09,'log','{"level":"info","message":"again: attempt 2"}');
INSERT INTO "event" VALUES('xjrag0x9',11,'main.run.work.train.2/attempt_started#0',1.79527557083108973501e+09,'attempt_started','{"attempt":2,"instance":"box","task":"train"}');
INSERT INTO "event" VALUES('xjrag0x9',12,'main.run.work.train.2/sync_done#0',1.79527557085636591915e+09,'sync_done','{"bytes":5,"deleted":0,"files":1,"instance":"box","seconds":0.0044955879984627245,"sync":"out"}');
INSERT INTO "event" VALUES('xjrag0x9',13,'main.run.work.train/task_done#0',1.79527557085653758045e+09,'task_done','{"attempts":2,"metrics":{"loss":{"best":0.10000000000000001,"count":1,"last":0.10000000000000001,"max":0.10000000000000001,"min":0.10000000000000001,"step":1.0}},"seconds":1.0960688591003418,"task":"train"}');
INSERT INTO "event" VALUES('xjrag0x9',14,'main.run.work.report/task_started#0',1.79527557085656976694e+09,'task_started','{"task":"report"}');
INSERT INTO "event" VALUES('xjrag0x9',15,'main.run.work.report.1/attempt_started#0',1.79527557091156053539e+09,'attempt_started','{"attempt":1,"instance":"box","task":"report"}');
INSERT INTO "event" VALUES('xjrag0x9',16,'main.run.work.report/task_done#0',1.79527557094291377072e+09,'task_done','{"attempts":1,"metrics":{},"seconds":0.085832834243774414,"task":"report"}');
INSERT INTO "event" VALUES('xjrag0x9',17,'main.run.work.report/instance_released#0',1.79527557127178120617e+09,'instance_released','{"cost":0.00020423978567123412,"instance":"box","label":"box-1","lived":1.4705264568328857,"tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1","why":"no task needs it"}');
INSERT INTO "event" VALUES('xjrag0x9',18,'run_done',1.79527557127192759515e+09,'run_done','{"cost":0.00020423978567123412}');
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('install','e4prmytt');
CREATE TABLE metric(
  run TEXT NOT NULL, task TEXT NOT NULL, name TEXT NOT NULL, attempt INTEGER NOT NULL,
  step REAL NOT NULL, value REAL, at REAL NOT NULL,
  PRIMARY KEY(run, task, name, attempt, step)) STRICT, WITHOUT ROWID;
INSERT INTO "metric" VALUES('xjrag0x9','train','loss',1,1.0,0.1,1.79527557045161962508e+09);
INSERT INTO "metric" VALUES('xjrag0x9','train','loss',2,1.0,0.1,1.7952755708362352848e+09);
CREATE TABLE outbox(
  id INTEGER PRIMARY KEY, dedupe TEXT UNIQUE, channel TEXT, body TEXT,
  attempts INTEGER NOT NULL DEFAULT 0, sent_at REAL) STRICT;
CREATE TABLE proc(
  run TEXT NOT NULL, key TEXT NOT NULL, tag TEXT NOT NULL REFERENCES res(tag), task TEXT NOT NULL,
  attempt INTEGER NOT NULL, cmd TEXT, log TEXT NOT NULL, log_offset INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL, code INTEGER, signal INTEGER, started REAL, ended REAL, facts TEXT,
  PRIMARY KEY(run, key)) STRICT;
INSERT INTO "proc" VALUES('xjrag0x9','xjrag0x9.train.setup.1','cho-e4prmytt-xjrag0x9-730dc7eb-1','train',1,'{"command":{"shell":"mkdir -p out"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"1","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"train"},"metrics":null}','/tmp/UPD/corpus/choline/runs/xjrag0x9/logs/train.setup.1.log',0,'done',0,0,1.79527557024160957337e+09,1.79527557025327730178e+09,'{"oom":false,"pid":12214,"seconds":0.013937495999925886}');
INSERT INTO "proc" VALUES('xjrag0x9','xjrag0x9.train.1','cho-e4prmytt-xjrag0x9-730dc7eb-1','train',1,'{"command":{"shell":"echo loss=0.1; if ! test -e tried; then touch tried; exit 3; fi; echo done > out/model"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"1","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"train"},"metrics":{"loss":{"pattern":"loss=(%S+)"}}}','/tmp/UPD/corpus/choline/runs/xjrag0x9/logs/train.1.log',9,'done',3,0,1.79527557038513827327e+09,1.79527557048338627819e+09,'{"oom":false,"pid":12221,"seconds":0.01487890800126479}');
INSERT INTO "proc" VALUES('xjrag0x9','xjrag0x9.train.2','cho-e4prmytt-xjrag0x9-730dc7eb-1','train',2,'{"command":{"shell":"echo loss=0.1; if ! test -e tried; then touch tried; exit 3; fi; echo done > out/model"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"2","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"train"},"metrics":{"loss":{"pattern":"loss=(%S+)"}}}','/tmp/UPD/corpus/choline/runs/xjrag0x9/logs/train.2.log',9,'done',0,0,1.79527557082360124593e+09,1.79527557083728861809e+09,'{"oom":false,"pid":12227,"seconds":0.0030080510005063843}');
INSERT INTO "proc" VALUES('xjrag0x9','xjrag0x9.report.1','cho-e4prmytt-xjrag0x9-730dc7eb-1','report',1,'{"command":{"shell":"cat out/model"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"1","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"report"},"metrics":null}','/tmp/UPD/corpus/choline/runs/xjrag0x9/logs/report.1.log',5,'done',0,0,1.79527557090590739251e+09,1.79527557093090963367e+09,'{"oom":false,"pid":12232,"seconds":0.0057155960003001383}');
CREATE TABLE res(
  tag TEXT PRIMARY KEY, run TEXT NOT NULL, step TEXT NOT NULL, kind TEXT NOT NULL,
  name TEXT NOT NULL, provider TEXT NOT NULL, spec TEXT, handle TEXT,
  provider_id TEXT NOT NULL DEFAULT '',
  state TEXT NOT NULL CHECK(state IN ('intended','live','releasing','gone','void','lost')),
  usd_h REAL NOT NULL DEFAULT 0, host TEXT NOT NULL DEFAULT '', lease_until REAL,
  intended_at REAL NOT NULL, live_at REAL, gone_at REAL, misses INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "res" VALUES('cho-e4prmytt-xjrag0x9-730dc7eb-1','xjrag0x9','main.run.work.train.1/box-1','instance','box','local','{"disk":0,"image":"","keep":false,"lease":86400.0,"lifetime":0.0,"max_price":0.0,"name":"box","settings":{"price":0.5},"spot":false}','{"account":"","extra":null,"id":"fepxe1ch","provider":"local","region":"here","tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1","zone":""}','fepxe1ch','gone',0.5,'local/fepxe1ch',1.79536197010641956333e+09,1.79527556981238603592e+09,1.79527556988027811048e+09,1.79527557126746392245e+09,0);
CREATE TABLE run(
  id TEXT PRIMARY KEY, name TEXT NOT NULL,
  state TEXT NOT NULL CHECK(state IN
    ('running','waiting','paused','stopping','done','failed','stopped')),
  seed INTEGER NOT NULL, epoch INTEGER NOT NULL DEFAULT 0, owner TEXT, replay_abi INTEGER NOT NULL,
  code_version INTEGER NOT NULL DEFAULT 1, params TEXT NOT NULL, env TEXT NOT NULL,
  parent TEXT NOT NULL DEFAULT '', incarnations INTEGER NOT NULL DEFAULT 0, budget_usd REAL,
  failure TEXT, created REAL NOT NULL, finished REAL) STRICT;
INSERT INTO "run" VALUES('xjrag0x9','choline-corpus','done',8894812987408224,1,NULL,1,1,'{"lr":0.10000000000000001}','{"cholfile":"/tmp/choline-corpus/Cholfile.lua","choline":"0.1.0","host":"vm","user":"root"}','',1,5.0,NULL,1.79527556975980854027e+09,1.79527557127198672298e+09);
CREATE TABLE schedule(
  id TEXT PRIMARY KEY, spec TEXT, next_at REAL, last_run TEXT, missed TEXT) STRICT;
CREATE TABLE shown(
  run TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(run, key)) STRICT, WITHOUT ROWID;
CREATE TABLE source(
  run TEXT NOT NULL REFERENCES run(id), code_version INTEGER NOT NULL, path TEXT NOT NULL,
  sha256 TEXT NOT NULL, body BLOB NOT NULL, place INTEGER NOT NULL,
  PRIMARY KEY(run, code_version, path)) STRICT;
INSERT INTO "source" VALUES('xjrag0x9',1,'Cholfile.lua','23582136ddf4814b42e72b94b49e72545049afd382f8b3a140ea72d2477e1ce0',X'706172616D20226C7222207B2064656661756C74203D20302E31207D0A6C6F63616C20626F78203D20696E7374616E63652022626F7822207B2066726F6D203D207B2068657265207B207072696365203D202224302E35302F6822207D207D207D0A73796E632022636F646522207B2066726F6D203D20222E222C20746F203D2022626F783A2F776F726B22207D0A73796E6320226F757422207B2066726F6D203D2022626F783A2F776F726B2F6F7574222C20746F203D20222E2F6F757422207D0A7461736B2022747261696E22207B0A20206F6E203D20626F782C207365747570203D20226D6B646972202D70206F7574222C0A202072756E203D20226563686F206C6F73733D7B6C727D3B20696620212074657374202D652074726965643B207468656E20746F7563682074726965643B206578697420333B2066693B206563686F20646F6E65203E206F75742F6D6F64656C222C0A20206D657472696373203D207B206C6F7373203D20226C6F73733D2825532B2922207D2C207265747279203D207265747279207B206D6178203D20322C206F6E203D207B20226372617368656422207D2C2077616974203D20223130306D7322207D2C0A7D0A7461736B20227265706F727422207B206F6E203D20626F782C206166746572203D2022747261696E222C2072756E203D2022636174206F75742F6D6F64656C22207D0A62756467657420222435220A6F6E28227265747279696E67222C2066756E6374696F6E286576656E7429206C6F672E696E666F2822616761696E3A20617474656D7074202564222C206576656E742E617474656D70742920656E64290A',1);
CREATE TABLE step(
  run TEXT NOT NULL REFERENCES run(id), key TEXT NOT NULL, verb TEXT NOT NULL, class TEXT NOT NULL,
  args TEXT NOT NULL, args_hash TEXT NOT NULL, state INTEGER NOT NULL CHECK(state BETWEEN 0 AND 3),
  attempt INTEGER NOT NULL DEFAULT 1, deadline REAL, result TEXT, blob TEXT, seq INTEGER,
  code_version INTEGER NOT NULL DEFAULT 1, intent_at REAL NOT NULL, done_at REAL,
  epoch INTEGER NOT NULL, PRIMARY KEY(run, key)) STRICT, WITHOUT ROWID;
INSERT INTO "step" VALUES('xjrag0x9','main.run.budget.until-2-limit/wait.sleep#0','wait.sleep','wait','[35909.905560970306]','e3f5caf3e7002a68e8b50d3a6e1941975062d0bfac3cf0cd17af0bb0226c9081',3,1,1.79531147980137181286e+09,NULL,NULL,NULL,1,1.79527556989581084248e+09,1.79527557127188634872e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.orders/wait.passed#0','wait.passed','wait','["order"]','3a3119cb811187bd3830b295da05d0ce500f82d6f9e77928507061f7d8c93a78',3,1,NULL,NULL,NULL,NULL,1,1.79527556978998351099e+09,1.79527557127195858954e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.report.1.command/instance.wait#0','instance.wait','wait','["cho-e4prmytt-xjrag0x9-730dc7eb-1","xjrag0x9.report.1"]','58534f18a867f4e5c71cfc82b42b0172097cc83da94860b4572c9f0b1b4bcabb',1,1,NULL,'{"code":0,"metrics":{},"oom":false,"seconds":0.0057155960003001383,"signal":0}',NULL,15,1,1.79527557091193151481e+09,1795275570.93096,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.report.1/instance.start#0','instance.start','keyed','["cho-e4prmytt-xjrag0x9-730dc7eb-1",{"attempt":1,"command":{"shell":"cat out/model"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"1","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"report"},"key":"xjrag0x9.report.1","task":"report"}]','37a969e3152121bb9e904edfccade6b9660dae3dfbe723d267c974aa942233b0',1,1,NULL,'{"already":false,"key":"xjrag0x9.report.1"}',NULL,14,1,1.79527557085673093793e+09,1.79527557090598082539e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.report.1/transfer.sync#0','transfer.sync','idempotent','[{"checkpoints":false,"delete":false,"from":{"path":"/work/out","tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1"},"include_ignored":false,"name":"out","to":{"path":"/tmp/choline-corpus/out"}}]','baa62aa1c02c8fdef540ea717f485b75dcfe31955fb7e20b3b973fe08b1eb3fa',1,1,NULL,'{"bytes":0,"deleted":0,"files":0,"seconds":0.0016750659997342154,"skipped":[],"unchanged":1}',NULL,16,1,1.79527557093179726595e+09,1.79527557094171023367e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.report/instance.destroy#0','instance.destroy','idempotent','["cho-e4prmytt-xjrag0x9-730dc7eb-1"]','ca852f71a22b437db84137b6520f1851df86667ed4776d156fdeb451fc14a941',1,1,NULL,'{"cost":0.00019266469611061945,"ended":1795275571.2674639,"gone":true}',NULL,17,1,1.7952755709429974556e+09,1.79527557126749753952e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1.command/instance.wait#0','instance.wait','wait','["cho-e4prmytt-xjrag0x9-730dc7eb-1","xjrag0x9.train.1"]','a43e482480888b6ee95dc443da6e8d7afbe294868788b6a559ba132bf0b52be3',1,1,NULL,'{"code":3,"metrics":{"loss":{"best":0.10000000000000001,"count":1,"last":0.10000000000000001,"max":0.10000000000000001,"min":0.10000000000000001,"step":1.0}},"oom":false,"seconds":0.01487890800126479,"signal":0}',NULL,8,1,1.79527557042002391812e+09,1.79527557048346257206e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1.setup/instance.start#0','instance.start','keyed','["cho-e4prmytt-xjrag0x9-730dc7eb-1",{"attempt":1,"command":{"shell":"mkdir -p out"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"1","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"train"},"key":"xjrag0x9.train.setup.1","task":"train"}]','0388b546ac193fcddab691717e240f130b83fec49569628c9e5c4d4d6249fd5e',1,1,NULL,'{"already":false,"key":"xjrag0x9.train.setup.1"}',NULL,5,1,1.79527557015215134621e+09,1.7952755702416419983e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1.setup/instance.wait#0','instance.wait','wait','["cho-e4prmytt-xjrag0x9-730dc7eb-1","xjrag0x9.train.setup.1"]','80a3852bb0d2d861ba8be620a4a33bd254989317e0e1186f952e9f52e320d6a6',1,1,NULL,'{"code":0,"metrics":{},"oom":false,"seconds":0.013937495999925886,"signal":0}',NULL,6,1,1.79527557024385905262e+09,1.79527557025532102583e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1/box-1','instance.create','adoptable','[{"label":"box-1","name":"box","offer":{"cpus":2,"disk":78244954112,"id":"local","memory":25276502016,"price":0.5,"provider":"local","raw":{"host":"vm","settings":{"price":0.5}},"region":"here","settings":{"price":0.5},"spot":false,"type":"folder","zone":""},"provider":"local","settings":{"price":0.5},"spot":false}]','a90c6f66754ed376812d8b7c3245b506c0788ddc5ac13a8b6c872b49e0dd30c3',1,1,NULL,'{"host":"local/fepxe1ch","name":"box","price":0.5,"provider":"local","provider_id":"fepxe1ch","tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1"}',NULL,2,1,1.79527556981188344958e+09,1.79527556989137649541e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1/instance.ready#0','instance.ready','idempotent','["cho-e4prmytt-xjrag0x9-730dc7eb-1",900]','9d6624a9a9b4ca16b4df25ffb4edfc373b4705fbcadaf164392c9ceaba9ceb29',1,1,NULL,'{"agent":"0.1.0","arch":"x86_64","cpus":2,"disk":78243450880,"gpus":[],"home":"/","hostname":"vm","jail":true,"kernel":"6.18.44-fc-v669","memory":25276502016,"os":"Debian GNU/Linux 12 (bookworm)","root":"/tmp/UPD/corpus/choline/local/instances/fepxe1ch/home","user":"0"}',NULL,3,1,1.79527556989573645589e+09,1.79527557013939332956e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1/instance.start#0','instance.start','keyed','["cho-e4prmytt-xjrag0x9-730dc7eb-1",{"attempt":1,"command":{"shell":"echo loss=0.1; if ! test -e tried; then touch tried; exit 3; fi; echo done > out/model"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"1","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"train"},"key":"xjrag0x9.train.1","metrics":{"loss":{"pattern":"loss=(%S+)"}},"task":"train"}]','1be21ad012a0fe9d24e7eb2f34d44711064572c5b0c95d0d7b162c99721804ed',1,1,NULL,'{"already":false,"key":"xjrag0x9.train.1"}',NULL,7,1,1.79527557026938152317e+09,1.79527557038528180126e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1/provider.offers#0','provider.offers','query','["local",{"settings":{"price":0.5},"spot":false}]','8b8e7173839b65e5ad14dd615e2b253e65fcd8b5bbeee60993685bab9e45b28f',1,1,NULL,'[{"cpus":2,"disk":78244954112,"id":"local","memory":25276502016,"price":0.5,"provider":"local","raw":{"host":"vm","settings":{"price":0.5}},"region":"here","spot":false,"type":"folder","zone":""}]',NULL,1,1,1.79527556979019451135e+09,1.79527556979693746564e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1/transfer.sync#0','transfer.sync','idempotent','[{"checkpoints":false,"delete":false,"from":{"path":"/tmp/choline-corpus"},"include_ignored":false,"name":"code","to":{"path":"/work","tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1"}}]','f3ac621aa2795dd25cb79275a3e8fa378e7d8ba28073bc333a2349d7042ba014',1,1,NULL,'{"bytes":607,"deleted":0,"files":1,"seconds":0.007717958998910035,"skipped":[],"unchanged":0}',NULL,4,1,1.79527557014220428468e+09,1.79527557015126729015e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.1/transfer.sync#1','transfer.sync','idempotent','[{"checkpoints":false,"delete":false,"from":{"path":"/work/out","tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1"},"include_ignored":false,"name":"out","to":{"path":"/tmp/choline-corpus/out"}}]','baa62aa1c02c8fdef540ea717f485b75dcfe31955fb7e20b3b973fe08b1eb3fa',1,1,NULL,'{"bytes":0,"deleted":0,"files":0,"seconds":0.0035848120005539386,"skipped":[],"unchanged":0}',NULL,9,1,1.79527557054211211202e+09,1.79527557055502533919e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.2.command/instance.wait#0','instance.wait','wait','["cho-e4prmytt-xjrag0x9-730dc7eb-1","xjrag0x9.train.2"]','588fde1e3861262aced6c5059047c54eef0e754c61285e75dac5a4ba84a724c5',1,1,NULL,'{"code":0,"metrics":{"loss":{"best":0.10000000000000001,"count":1,"last":0.10000000000000001,"max":0.10000000000000001,"min":0.10000000000000001,"step":1.0}},"oom":false,"seconds":0.0030080510005063843,"signal":0}',NULL,12,1,1.79527557083137679098e+09,1.79527557083732843402e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.2/instance.start#0','instance.start','keyed','["cho-e4prmytt-xjrag0x9-730dc7eb-1",{"attempt":2,"command":{"shell":"echo loss=0.1; if ! test -e tried; then touch tried; exit 3; fi; echo done > out/model"},"dir":"/work","env":{"CHOLINE_ATTEMPT":"2","CHOLINE_RUN":"xjrag0x9","CHOLINE_TASK":"train"},"key":"xjrag0x9.train.2","metrics":{"loss":{"pattern":"loss=(%S+)"}},"task":"train"}]','f1c89bf694552090af6f9d6e45a1128e76b2c6dd199e2a7a24c943142aaa4112',1,1,NULL,'{"already":false,"key":"xjrag0x9.train.2"}',NULL,11,1,1.79527557072772932051e+09,1.79527557082368230826e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.2/transfer.sync#0','transfer.sync','idempotent','[{"checkpoints":false,"delete":false,"from":{"path":"/work/out","tag":"cho-e4prmytt-xjrag0x9-730dc7eb-1"},"include_ignored":false,"name":"out","to":{"path":"/tmp/choline-corpus/out"}}]','baa62aa1c02c8fdef540ea717f485b75dcfe31955fb7e20b3b973fe08b1eb3fa',1,1,NULL,'{"bytes":5,"deleted":0,"files":1,"seconds":0.0044955879984627245,"skipped":[],"unchanged":0}',NULL,13,1,1.79527557084314680095e+09,1.79527557085587739947e+09,1);
INSERT INTO "step" VALUES('xjrag0x9','main.run.work.train.wait-2/wait.sleep#0','wait.sleep','wait','[0.10000000000000001]','fa0a5324f1ac972c19cfa8866ee796e23dff391747a97713b961095138b0eb43',1,1,1.79527557066359448436e+09,'null',NULL,10,1,1.79527557056359457965e+09,1.79527557068331313134e+09,1);
CREATE INDEX run_created ON run(created);
CREATE INDEX run_name ON run(name, created);
CREATE UNIQUE INDEX step_seq ON step(run, seq) WHERE seq IS NOT NULL;
CREATE UNIQUE INDEX res_one ON res(run, step) WHERE state IN ('intended','live','releasing');
CREATE INDEX res_run ON res(run);
CREATE INDEX res_provider ON res(provider, provider_id);
CREATE INDEX res_alive ON res(state) WHERE state IN ('intended','live','releasing','lost');
CREATE UNIQUE INDEX event_key ON event(run, key) WHERE key <> '';
COMMIT;
PRAGMA application_id=1128812364;
PRAGMA user_version=1;
